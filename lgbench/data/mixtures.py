"""What a run trains on: tasks with lengths and shares, all the time or in stages."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from lgbench.util.errors import LgbenchError

MOST_SHARES = 1000
"""The greatest common denominator of the shares of a list: a block draws each task by its share of that many."""


class Part(NamedTuple):
    """One task of a mixture.

    Attributes:
        task: Its name.
        max_length: Its greatest training length.
        share: Its share of the examples.
    """

    task: str
    max_length: int
    share: Fraction

    def __str__(self) -> str:
        return f"{self.share} {self.task} to {self.max_length}"


class PoolPart(NamedTuple):
    """A share of the examples that is drawn from a pool, which a hook fills while a run trains.

    Attributes:
        pool: The pool's name.
        share: Its share of the examples.
    """

    pool: str
    share: Fraction

    def __str__(self) -> str:
        return f"{self.share} of the pool {self.pool}"


Parts = tuple[Part, ...]
"""A list of tasks whose shares add up to 1. It has one training stream in a suite, whichever arms train on it."""


class Stage(NamedTuple):
    """A list of tasks, and for how long it is trained on.

    Attributes:
        parts: The list.
        share: Its share of the steps.
    """

    parts: Parts
    share: Fraction


class Span(NamedTuple):
    """The steps of a stage in a run.

    Attributes:
        parts: What they train on.
        first: The first step, from 0.
        end: One more than the last.
        before: How many earlier steps of the run trained on the same list. The stream goes on behind their examples.
    """

    parts: Parts
    first: int
    end: int
    before: int


@dataclass(frozen=True)
class Mixture:
    """What a run trains on: one list of tasks, or stages that each have a list. Shares that change are many stages.

    Attributes:
        parts: The list, unless there are stages.
        stages: In order; empty for one list.

    Raises:
        LgbenchError: There is no list or both, a task is repeated in one, or shares do not add up to 1.

    Examples:
        >>> half = Fraction(1, 2)
        >>> plain = Mixture((Part("reverse", 8, half), Part("capitalize", 16, half)))
        >>> print(plain)
        1/2 reverse to 8, 1/2 capitalize to 16
        >>> alone = (Part("capitalize", 16, Fraction(1)),)
        >>> print(Mixture(stages=(Stage(alone, Fraction(1, 4)), Stage(plain.parts, Fraction(3, 4)))))
        1/4 of the steps: 1 capitalize to 16; 3/4 of the steps: 1/2 reverse to 8, 1/2 capitalize to 16
    """

    parts: Parts = ()
    stages: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.parts) == bool(self.stages):
            raise LgbenchError("A mixture has either parts or stages. Give one of the two.")
        for stage in self.schedule:
            tasks = [part.task for part in stage.parts]
            if len(set(tasks)) < len(tasks):
                raise LgbenchError(f"A list of a mixture repeats a task: {', '.join(tasks)}. Name each once.")
            check_shares([part.share for part in stage.parts], of=", ".join(tasks) or "an empty list")
        check_shares([stage.share for stage in self.schedule], of="the stages")

    @property
    def schedule(self) -> tuple[Stage, ...]:
        """The stages; one list is a single stage."""
        return self.stages or (Stage(self.parts, Fraction(1)),)

    @property
    def tasks(self) -> dict[str, int]:
        """The greatest length that each task is trained to in any stage, in order of first mention."""
        greatest: dict[str, int] = {}
        for stage in self.schedule:
            for task, length, _ in stage.parts:
                greatest[task] = max(length, greatest.get(task, 0))
        return greatest

    def spans(self, steps: int) -> Iterator[Span]:
        """The stages as steps of a run of this many steps, in order.

        Raises:
            LgbenchError: A stage is so short that it has no step.
        """
        trained: dict[Parts, int] = {}
        reached, first = Fraction(0), 0
        for number, stage in enumerate(self.schedule, start=1):
            reached += stage.share
            end = math.floor(reached * steps)
            if end == first:
                raise LgbenchError(f"Stage {number} has {stage.share} of {steps} steps, which is none. Train longer.")
            before = trained.get(stage.parts, 0)
            yield Span(stage.parts, first, end, before)
            trained[stage.parts] = before + end - first
            first = end

    def __str__(self) -> str:
        lists = [(stage.share, ", ".join(map(str, stage.parts))) for stage in self.schedule]
        if not self.stages:
            return lists[0][1]
        return "; ".join(f"{share} of the steps: {text}" for share, text in lists)


def check_shares(shares: list[Fraction], *, of: str) -> None:
    """Refuse shares that are no fractions above 0 of a small denominator, or that do not add up to 1."""
    for share in shares:
        if not isinstance(share, Fraction | int) or share <= 0:
            raise LgbenchError(f"A share of {of} is {share!r}. It must be a fraction above 0, as Fraction(1, 3).")
    if sum(shares) != 1:
        raise LgbenchError(f"The shares of {of} add up to {sum(shares)}. They must add up to 1.")
    if (common := math.lcm(*(Fraction(share).denominator for share in shares))) > MOST_SHARES:
        raise LgbenchError(f"The shares of {of} have the common denominator {common}; at most {MOST_SHARES} is valid.")
