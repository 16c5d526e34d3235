"""Finds copies: one run under two names. `lgbench.submissions.likeness` finds near-copies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import load_suite
from lgbench.results.schema import Draft, Result
from lgbench.submissions.eligibility import experiment
from lgbench.util.errors import LgbenchError
from lgbench.util.records import Problem


class Training(Protocol):
    """What a run was trained on."""

    @property
    def suite(self) -> str:
        """The suite."""

    @property
    def draft(self) -> Draft | None:
        """Where a draft suite came from."""

    @property
    def arm(self) -> str:
        """The arm."""

    @property
    def group(self) -> str | None:
        """The group."""

    @property
    def seed(self) -> int | None:
        """The seed."""


class Trace(NamedTuple):
    """The part of a result that identifies copies, in a fiftieth of the memory: a thousand systems have 21,000 results.

    Attributes:
        suite: As the result has it, like all that follow.
        draft: Where a draft suite came from.
        arm: The arm.
        group: The group.
        seed: The seed.
        replies_sha256: Of the replies.
        is_perfect: Whether every reply is right.
        started: When it began.
        duration: Seconds.
        replies_per_second: The speed.
        recipe: A hash of the model and the settings that it was trained with; None without its training record.
    """

    suite: str
    draft: Draft | None
    arm: str
    group: str | None
    seed: int | None
    replies_sha256: str
    is_perfect: bool
    started: datetime
    duration: float
    replies_per_second: float
    recipe: str | None = None


def trace(result: Result, recipe: str | None = None) -> Trace:
    """The part of a result that identifies copies."""
    return Trace(
        result.suite,
        result.draft,
        result.arm,
        result.group,
        result.seed,
        result.replies_sha256,
        is_perfect(result),
        result.started,
        result.duration,
        result.replies_per_second,
        recipe,
    )


class Repeats:
    """Finds copies among the runs of one system, given one result after another.

    Two seeds that give exactly the same replies are one run under two names, unless every reply is right.
    """

    def __init__(self) -> None:
        self._results: dict[str, Result] = {}
        self._first: dict[object, str] = {}  # the first run of each identity
        self._of_weights: dict[object, list[str]] = {}
        self._of_replies: dict[str, list[str]] = {}

    def problem(self, name: str, result: Result) -> Problem | None:
        """Why a run, by the name of its folder, is the same as one before it; None where it is not."""
        results = self._results
        if (earlier := self._first.setdefault(_identity(result), name)) != name:
            message = f"repeats {earlier}: {experiment(result)} with seed {result.seed} is there twice."
            return Problem("seed", message)
        results[name] = result
        alike = self._of_weights.setdefault((result.system.kind, result.system.source_sha256), [])
        same_replies = self._of_replies.setdefault(result.replies_sha256, [])
        weights = next((each for each in alike if _same_weights(results[each], result)), None)
        replies = next((each for each in same_replies if _suspiciously_equal(results[each], result)), None)
        alike.append(name)
        same_replies.append(name)
        if weights is not None:
            message = (
                f"names the same weights as {described(weights, results[weights])}: a checkpoint was trained under one "
                "arm, with one seed."
            )
            return Problem("system.source_sha256", message)
        if replies is not None:
            message = (
                f"equals that of {described(replies, results[replies])}: no two trained models give the same wrong "
                "replies throughout."
            )
            return Problem("replies_sha256", message)
        return None


def copied(systems: Mapping[str, Mapping[str, Trace]]) -> Iterator[tuple[str, str, Problem]]:
    """The runs whose replies are those of another system's run, each with its system and the name of its folder.

    It is unknown which of them was first, so both are reported. Equal weights are no copy: one model with two ways of
    asking is two systems.

    Args:
        systems: The runs of each system, by the name of their folder.
    """
    alike: dict[str, list[tuple[str, str]]] = {}
    for system, runs in systems.items():
        for run, left in runs.items():
            if not left.is_perfect:
                alike.setdefault(left.replies_sha256, []).append((system, run))
    for found in alike.values():
        for system, run in found:
            if other := next((f"{other}/{its_run}" for other, its_run in found if other != system), None):
                message = (
                    f"equals that of {other}: no two systems give the same wrong replies throughout. A system is "
                    "on the board once, and one that is trained in the same way again has other seeds (docs/rules.md)."
                )
                yield system, run, Problem("replies_sha256", message)


def timed_alike(systems: Mapping[str, Mapping[str, Trace]]) -> Iterator[tuple[str, str, Problem]]:
    """The runs that began in the same second as another and took equally long. Only copies of a result do.

    This is the only sign of a copy if all replies are right.

    Args:
        systems: The runs of each system, by the name of their folder.
    """
    alike: dict[object, list[tuple[str, str]]] = {}
    for system, runs in systems.items():
        for run, left in runs.items():
            timing = (left.started, left.duration, left.replies_per_second)
            alike.setdefault(timing, []).append((system, run))
    for found in alike.values():
        for place, (system, run) in enumerate(found):
            for number, (other, its_run) in enumerate(found):
                is_own = other == system
                if is_own and (number >= place or same_training(systems[system][run], systems[other][its_run])):
                    continue
                message = (
                    f"equals that of {its_run if is_own else f'{other}/{its_run}'}, as do its duration and its speed, "
                    "to a thousandth of a second: one result is a copy of the other."
                )
                yield system, run, Problem("started", message)
                break


def same_training(result: Training, other: Training) -> bool:
    """Whether two results can be of one training, as groups with equal task lists share a run."""
    if (result.suite, result.arm, result.seed) != (other.suite, other.arm, other.seed):
        return False
    if result.group is None or other.group is None:
        return result.group == other.group
    try:
        suite = load_suite(result.suite, result.draft)
        return suite.group(result.group).mixture(result.arm) == suite.group(other.group).mixture(other.arm)
    except LgbenchError:  # a name that does not exist, which is reported elsewhere
        return True


def described(run: str, result: Training) -> str:
    """A description of a run."""
    return f"{run} ({experiment(result)}, seed {result.seed})"


def is_perfect(result: Result) -> bool:
    """Whether every reply is right."""
    return all(cell.counts.correct == cell.counts.total for cell in result.cells)


def _identity(result: Result) -> tuple[str, str, str | None, int | None]:
    return result.suite, result.arm, result.group, result.seed


def _same_weights(result: Result, other: Result) -> bool:
    """Whether two different trainings claim the same file of weights."""
    one, two = result.system, other.system
    if result.arm == other.arm == OPEN_ARM and result.suite != other.suite:
        return False  # one model, asked two suites
    same_file = one.kind == two.kind and one.kind in ("checkpoint", "hf") and one.source_sha256 == two.source_sha256
    return same_file and one.source_sha256 != () and not same_training(result, other)


def _suspiciously_equal(result: Result, other: Result) -> bool:
    return not same_training(result, other) and not is_perfect(result)
