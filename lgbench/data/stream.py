"""The endless training stream of a list of tasks, in blocks that depend on their number only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import TypeVar

import numpy as np

from lgbench.data.cells import draw_cell, draw_prompts, held_out_prompts
from lgbench.data.groups import Group
from lgbench.data.mixtures import Part, Parts, PoolPart
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.data.task import Example, Stream
from lgbench.util.errors import LgbenchError
from lgbench.util.processes import drawn_ahead

Block = TypeVar("Block")
AnyPart = TypeVar("AnyPart", Part, PoolPart, Part | PoolPart)

# Part of what the data is: another size would draw other examples.
BLOCK_EXAMPLES = 8192


class TrainingData:
    """The training examples of a list of tasks in a suite.

    They depend on the suite and the list of (task, greatest length, share) alone. Example number n is number
    n mod 8192 of block n div 8192, and a block depends on its number only: how examples are batched, and how many
    workers draw them, changes nothing. No prompt stands in the test or dev cells of its task.

    Within a block the task of each example is drawn by its share, then the length uniformly from the task's least
    length to its greatest in the list.
    """

    def __init__(self, suite: Suite, parts: Parts) -> None:
        self.suite = suite
        self.parts = parts
        self._key = list_key(suite, parts)
        self._held_out: dict[tuple[str, int], frozenset[str]] = {}

    def block(self, number: int) -> list[Example]:
        """The 8192 examples of block `number`; an example's index is its number in the whole stream."""
        first = number * BLOCK_EXAMPLES
        examples: list[Example | None] = [None] * BLOCK_EXAMPLES
        for (task, length), positions in self._choices(number):
            prompts = self._prompts(number, task, length, len(positions))
            targets = map(self.suite.task(task).solve, prompts)
            for position, prompt, target in zip(positions, prompts, targets, strict=True):
                examples[position] = Example(task, length, first + position, prompt, target)
        return [example for example in examples if example is not None]

    def _choices(self, number: int) -> Iterator[tuple[Cell, list[int]]]:
        """Each (task, length) that a block holds, with the positions in the block that hold it."""
        stream = Stream("lgbench", self.suite.name, "train", self._key, number)
        parts = by_share(self.parts)
        shortest = np.array([self.suite.task(part.task).min_length for part in parts])
        longest = np.array([part.max_length for part in parts])
        picks = stream.below(len(parts), BLOCK_EXAMPLES)
        spans = (longest - shortest + 1)[picks].astype(np.uint64)
        lengths = shortest[picks] + (stream.words(BLOCK_EXAMPLES) % spans).astype(np.int64)
        for part in self.parts:
            of_task = np.isin(picks, [pick for pick, each in enumerate(parts) if each == part])
            for length in range(1, part.max_length + 1):
                if len(positions := np.flatnonzero(of_task & (lengths == length))):
                    yield Cell(part.task, length), positions.tolist()

    def _prompts(self, number: int, task: str, length: int, count: int) -> list[str]:
        stream = Stream("lgbench", self.suite.name, "train", self._key, number, task, length)
        held_out = self._held_out_prompts(task, length)
        definition = self.suite.task(task)
        return draw_prompts(stream, definition, length, count, split="train", held_out=held_out, distinct=False)

    def _held_out_prompts(self, task: str, length: int) -> frozenset[str]:
        """The test and dev prompts of a cell. A prompt's length is a function of it, so no other cell can hold it."""
        if (task, length) not in self._held_out:
            dev = draw_cell(self.suite, task, length, split="dev") if length in self.suite.grid(task) else []
            test = held_out_prompts(self.suite, task, length)
            self._held_out[task, length] = test.union(example.prompt for example in dev)
        return self._held_out[task, length]


def list_key(suite: Suite, parts: Sequence[Part | PoolPart]) -> str:
    """A list of tasks and pools as a part of the key of its stream."""
    return ",".join(
        f"pool {part.pool}:{part.share}"
        if isinstance(part, PoolPart)
        else f"{part.task}@{suite.task(part.task).version}:{part.max_length}:{part.share}"
        for part in parts
    )


def by_share(parts: Sequence[AnyPart]) -> list[AnyPart]:
    """The parts of a list, each repeated in proportion to its share."""
    total = math.lcm(*(part.share.denominator for part in parts))
    return [part for part in parts for _ in range(int(part.share * total))]


def training_stream(
    suite: str | Suite, group: str, arm: str, *, stage: int | None = None, start: int = 0, workers: int = 0
) -> Iterator[Example]:
    """The endless training examples of an arm's list, in order.

    Args:
        suite: A suite or its name.
        group: A group of the suite.
        arm: A trained arm of the group, such as `transfer`.
        stage: Of an arm that trains in stages, the number of the stage whose list is drawn, from 1.
        start: The number of the first example.
        workers: Processes that draw blocks ahead; 0 draws them here. The examples do not depend on it. Workers are
            spawned, so a script that asks for them needs the usual `if __name__ == "__main__":` guard.

    Raises:
        UnknownNameError: No such suite, group or arm.
        LgbenchError: A negative `start` or `workers`, or a stage that the arm does not have.
    """
    if start < 0 or workers < 0:
        raise LgbenchError(f"start={start} and workers={workers} must both be 0 or more.")
    if isinstance(suite, str):
        suite = load_suite(suite)
    return _examples(suite, stage_parts(suite.group(group), arm, stage), start, workers)


def stage_parts(group: Group, arm: str, stage: int | None) -> Parts:
    """What an arm of a group trains on, in a stage if it has several.

    Raises:
        UnknownNameError: The group has no such arm.
        LgbenchError: The arm has no such stage, or has several and none is named.
    """
    schedule = group.mixture(arm).schedule
    if stage is None and len(schedule) == 1:
        stage = 1
    if stage is None or not 1 <= stage <= len(schedule):
        given = "none was named" if stage is None else f"{stage} was given"
        raise LgbenchError(f"Arm {arm!r} of {group.name} has the stages 1 to {len(schedule)}; {given}. Name one.")
    return schedule[stage - 1].parts


def _examples(suite: Suite, parts: Parts, start: int, workers: int) -> Iterator[Example]:
    first, skip = divmod(start, BLOCK_EXAMPLES)
    blocks: Iterator[list[Example]]
    if workers:
        columns = training_blocks(suite, parts, _columns, first=first, workers=workers)
        blocks = (list(map(Example, *block)) for block in columns)
    else:
        blocks = training_blocks(suite, parts, list, first=first, workers=0)
    yield from itertools.islice(itertools.chain.from_iterable(blocks), skip, None)


# Plain columns cross the process border several times faster than a list of examples.
_Columns = tuple[tuple[str, ...], tuple[int, ...], tuple[int, ...], tuple[str, ...], tuple[str, ...]]


def _columns(block: list[Example]) -> _Columns:
    tasks, lengths, indices, prompts, targets = zip(*block, strict=True)
    return tasks, lengths, indices, prompts, targets


def training_blocks(
    suite: Suite, parts: Parts, view: Callable[[list[Example]], Block], *, first: int, workers: int
) -> Iterator[Block]:
    """The endless blocks of a list's stream, in order, as seen through `view`.

    Args:
        suite: The suite.
        parts: The list.
        view: Makes of a block what is wanted of it, in the process that draws the block. A function of a module.
        first: The number of the first block.
        workers: Processes that draw blocks ahead; 0 draws them here. The blocks do not depend on it.
    """
    if workers:
        return drawn_ahead(partial(_draw, suite, parts, view), first=first, workers=workers)
    data = TrainingData(suite, parts)
    return (view(data.block(number)) for number in itertools.count(first))


_worker_data = cache(TrainingData)


def _draw(suite: Suite, parts: Parts, view: Callable[[list[Example]], Block], number: int) -> Block:
    return view(_worker_data(suite, parts).block(number))
