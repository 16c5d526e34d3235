"""Layer 2: the endless training stream of an arm, in blocks that depend on their number only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import TypeVar

import numpy as np

from lgbench.cells import draw_cell, draw_prompts, held_out_prompts
from lgbench.errors import LgbenchError
from lgbench.processes import drawn_ahead
from lgbench.suites import Arm, ArmTask, Cell, Suite, load_suite
from lgbench.task import Example, Stream
from lgbench.tasks import get_task

Block = TypeVar("Block")

# Part of what the data is: another size would draw other examples.
BLOCK_EXAMPLES = 8192


class TrainingData:
    """The training examples of an arm in a suite.

    They depend on the suite and the arm's list of (task, greatest length, share) alone. Example number n is number
    n mod 8192 of block n div 8192, and a block depends on its number only: how examples are batched, and how many
    workers draw them, changes nothing. No prompt stands in the test or dev cells of its task.

    Within a block the task of each example is drawn by its share, then the length uniformly from the task's least
    length to the arm's greatest.
    """

    def __init__(self, suite: Suite, arm: Arm) -> None:
        self.suite = suite
        self.arm = arm
        self._key = ",".join(
            f"{part.task}@{get_task(part.task).version}:{part.max_length}:{part.share}" for part in arm
        )
        self._held_out: dict[tuple[str, int], frozenset[str]] = {}

    def block(self, number: int) -> list[Example]:
        """The 8192 examples of block `number`; an example's index is its number in the whole stream."""
        first = number * BLOCK_EXAMPLES
        examples: list[Example | None] = [None] * BLOCK_EXAMPLES
        for (task, length), positions in self._choices(number):
            prompts = self._prompts(number, task, length, len(positions))
            targets = map(get_task(task).solve, prompts)
            for position, prompt, target in zip(positions, prompts, targets, strict=True):
                examples[position] = Example(task, length, first + position, prompt, target)
        return [example for example in examples if example is not None]

    def _choices(self, number: int) -> Iterator[tuple[Cell, list[int]]]:
        """Each (task, length) that a block holds, with the positions in the block that hold it."""
        stream = Stream("lgbench", self.suite.name, "train", self._key, number)
        parts = _by_share(self.arm)
        shortest = np.array([get_task(part.task).min_length for part in parts])
        longest = np.array([part.max_length for part in parts])
        picks = stream.below(len(parts), BLOCK_EXAMPLES)
        spans = (longest - shortest + 1)[picks].astype(np.uint64)
        lengths = shortest[picks] + (stream.words(BLOCK_EXAMPLES) % spans).astype(np.int64)
        for part in self.arm:
            of_task = np.isin(picks, [pick for pick, each in enumerate(parts) if each == part])
            for length in range(1, part.max_length + 1):
                if len(positions := np.flatnonzero(of_task & (lengths == length))):
                    yield Cell(part.task, length), positions.tolist()

    def _prompts(self, number: int, task: str, length: int, count: int) -> list[str]:
        stream = Stream("lgbench", self.suite.name, "train", self._key, number, task, length)
        held_out = self._held_out_prompts(task, length)
        return draw_prompts(stream, get_task(task), length, count, split="train", held_out=held_out, distinct=False)

    def _held_out_prompts(self, task: str, length: int) -> frozenset[str]:
        """The test and dev prompts of a cell. A prompt's length is a function of it, so no other cell can hold it."""
        if (task, length) not in self._held_out:
            dev = draw_cell(self.suite, task, length, split="dev") if length in self.suite.grid(task) else []
            test = held_out_prompts(self.suite, task, length)
            self._held_out[task, length] = test.union(example.prompt for example in dev)
        return self._held_out[task, length]


def _by_share(arm: Arm) -> list[ArmTask]:
    """The parts of an arm, each repeated in proportion to its share."""
    total = math.lcm(*(part.share.denominator for part in arm))
    return [part for part in arm for _ in range(int(part.share * total))]


def training_stream(suite: str | Suite, group: str, arm: str, *, start: int = 0, workers: int = 0) -> Iterator[Example]:
    """The endless training examples of an arm, in order.

    Args:
        suite: A suite or its name.
        group: A group of the suite.
        arm: `main_only`, `transfer`, `control` or `direct`.
        start: The number of the first example.
        workers: Processes that draw blocks ahead; 0 draws them here. The examples do not depend on it. Workers are
            spawned, so a script that asks for them needs the usual `if __name__ == "__main__":` guard.

    Raises:
        UnknownNameError: No such suite, group or arm.
        LgbenchError: A negative `start` or `workers`.
    """
    if start < 0 or workers < 0:
        raise LgbenchError(f"start={start} and workers={workers} must both be 0 or more.")
    if isinstance(suite, str):
        suite = load_suite(suite)
    return _examples(suite, suite.group(group).arm(arm), start, workers)


def _examples(suite: Suite, arm: Arm, start: int, workers: int) -> Iterator[Example]:
    first, skip = divmod(start, BLOCK_EXAMPLES)
    blocks: Iterator[list[Example]]
    if workers:
        columns = training_blocks(suite, arm, _columns, first=first, workers=workers)
        blocks = (list(map(Example, *block)) for block in columns)
    else:
        blocks = training_blocks(suite, arm, list, first=first, workers=0)
    yield from itertools.islice(itertools.chain.from_iterable(blocks), skip, None)


# Plain columns cross the process border several times faster than a list of examples.
_Columns = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], tuple[str, ...], tuple[str, ...]]


def _columns(block: list[Example]) -> _Columns:
    tasks, lengths, indices, prompts, targets = zip(*block, strict=True)
    return tasks, lengths, indices, prompts, targets


def training_blocks(
    suite: Suite, arm: Arm, view: Callable[[list[Example]], Block], *, first: int, workers: int
) -> Iterator[Block]:
    """The endless blocks of an arm's stream, in order, as seen through `view`.

    Args:
        suite: The suite.
        arm: What the arm trains on.
        view: Makes of a block what is wanted of it, in the process that draws the block. A function of a module.
        first: The number of the first block.
        workers: Processes that draw blocks ahead; 0 draws them here. The blocks do not depend on it.
    """
    if workers:
        return drawn_ahead(partial(_draw, suite, arm, view), first=first, workers=workers)
    data = TrainingData(suite, arm)
    return (view(data.block(number)) for number in itertools.count(first))


_worker_data = cache(TrainingData)


def _draw(suite: Suite, arm: Arm, view: Callable[[list[Example]], Block], number: int) -> Block:
    return view(_worker_data(suite, arm).block(number))
