"""What the functions of a user's task must do: its sampler and `solve`. A sentence for each fault."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lgbench.data.cells import draw_cell, draw_prompts
from lgbench.data.suites import Suite
from lgbench.data.task import Sampler, Stream, Task
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import user_code

_PROBES = 64


def guarded(task: Task) -> Task:
    """A user's task, with functions that check what they return and tell errors as the user's."""
    train = None if task.train_sample is None else _Sample(task.name, task.train_sample)
    return replace(
        task, sample=_Sample(task.name, task.sample), train_sample=train, solve=_Solve(task.name, task.solve)
    )


@dataclass(frozen=True)
class _Sample:
    """A user's sampler, which must give as many texts as it is asked for."""

    task: str
    sample: Sampler

    def __call__(self, stream: Stream, length: int, count: int) -> list[str]:
        what = f"The sampler of {self.task}, asked for {count} prompts of length {length},"
        with user_code(what):
            prompts: object = self.sample(stream, length, count)
        if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
            raise LgbenchError(f"{what} returned {prompts!r:.60}. It must return a list of texts.")
        if len(prompts) != count:
            raise LgbenchError(f"{what} returned {len(prompts)}.")
        return prompts


@dataclass(frozen=True)
class _Solve:
    """A user's `solve`, which must give a text."""

    task: str
    solve: Callable[[str], str]

    def __call__(self, prompt: str) -> str:
        with user_code(f"solve of {self.task}, given {prompt[:60]!r},"):
            target: object = self.solve(prompt)
        if not isinstance(target, str):
            raise LgbenchError(f"solve of {self.task} returned {target!r:.60} for {prompt[:60]!r}. It must be a text.")
        return target


def check_behaviour(suite: Suite) -> None:
    """Draw and solve prompts of each own task, and refuse what would make a cell or a stream unsound.

    Raises:
        LgbenchError: A sampler repeats itself, ignores its length, draws from elsewhere than its stream or cannot fill
            its shortest cell; or `solve` is not a function of the prompt; or a text is outside the domain's alphabet.
        ModelError: A sampler or `solve` raised.
    """
    for task in suite.tasks:
        if task in suite.own_tasks:
            check_task(suite, task)


def check_task(suite: Suite, task: Task) -> None:
    """Draw and solve prompts of one task of a suite. Errors as for `check_behaviour`."""
    grid = suite.grid(task.name)
    for split in ("test", "train") if task.train_sample else ("test",):
        _check_sampler(task, task.sampler(split), grid)
    _check_solve(task, [task.example])
    for length in (*grid[:2], grid[-1]):
        _check_solve(task, task.sample(Stream("lgbench", "draft", "solve", task.name), length, _PROBES))
    _check_room(suite, task, grid[0])


def _check_sampler(task: Task, sample: Sampler, grid: tuple[int, ...]) -> None:
    def draw(key: str, length: int) -> list[str]:
        return sample(Stream("lgbench", "draft", key, task.name), length, _PROBES)

    before = random.getstate(), repr(np.random.get_state())
    lengths = sorted({*grid[:2], grid[-1]})
    drawn = {length: draw("one", length) for length in lengths}
    if (random.getstate(), repr(np.random.get_state())) != before:
        raise LgbenchError(
            f"The sampler of {task.name} uses a global random generator (random or numpy.random). Draw from the stream "
            "that it is given: stream.below(bound, count)."
        )
    longest = lengths[-1]
    if draw("one", longest) != drawn[longest]:
        raise LgbenchError(
            f"The sampler of {task.name} gave other prompts when it drew from the same stream again. All randomness "
            "must come from the stream that it is given: stream.below(bound, count)."
        )
    if draw("two", longest) == drawn[longest]:
        raise LgbenchError(
            f"The sampler of {task.name} repeats itself: two streams gave the same {_PROBES} prompts of length "
            f"{longest}. Draw from the stream that it is given: stream.below(bound, count)."
        )
    seen: dict[str, int] = {}
    for length, prompts in drawn.items():
        for prompt in prompts:
            if seen.setdefault(prompt, length) != length:
                raise LgbenchError(
                    f"The sampler of {task.name} ignores its length: it gave {prompt[:60]!r} at length {seen[prompt]} "
                    f"and at length {length}. A prompt has one length."
                )


def _check_solve(task: Task, prompts: list[str]) -> None:
    targets = list(map(task.solve, prompts))
    again = list(map(task.solve, reversed(prompts)))[::-1]
    texts = re.compile("|".join(map(re.escape, sorted(task.domain.vocabulary, key=len, reverse=True))))
    for prompt, target, other in zip(prompts, targets, again, strict=True):
        if target != other:
            raise LgbenchError(
                f"solve of {task.name} is not a function of the prompt: of {prompt[:60]!r} it made {target[:60]!r} and "
                f"then {other[:60]!r}."
            )
        if task.second_route is not None and (found := _by_second_route(task, prompt)) != target:
            raise LgbenchError(
                f"solve of {task.name} answers {prompt[:60]!r} with {target[:60]!r}, but its second_route with "
                f"{found!r:.62}. Find out which of them is right."
            )
        for kind, text in (("prompt", prompt), ("target", target)):
            if foreign := texts.sub("", text):
                raise LgbenchError(
                    f"A {kind} of {task.name}, {text[:60]!r}, has {foreign[0]!r}, which is not in the alphabet of its "
                    f"domain {task.domain.name!r}. Add it there, or change the {kind}."
                )


def _by_second_route(task: Task, prompt: str) -> object:
    assert task.second_route is not None
    with user_code(f"second_route of {task.name}, given {prompt[:60]!r},"):
        return task.second_route(prompt)


def _check_room(suite: Suite, task: Task, length: int) -> None:
    """Fill the cell that has the fewest prompts, and draw from what is left for training."""
    try:
        cells = draw_cell(suite, task.name, length) + draw_cell(suite, task.name, length, split="dev")
        draw_cell(suite, task.name, length, split="shots")
        stream = Stream("lgbench", "draft", "train", task.name)
        held_out = frozenset(example.prompt for example in cells)
        draw_prompts(stream, task, length, _PROBES, split="train", held_out=held_out, distinct=False)
    except LgbenchError as error:
        raise LgbenchError(
            f"{error} Begin the grid with a greater length, or lower examples_per_cell={suite.examples_per_cell}."
        ) from None
