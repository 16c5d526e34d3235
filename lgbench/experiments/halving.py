"""What successive halving chooses by: a trial's runs as far as the choice may see them, and its score. Pure.

`Seen` holds what is known of a run in distribution, on dev examples, and the choice is a function of it. So it cannot
depend on the main task at longer lengths, which is what the benchmark measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from lgbench.training.record import TrainingRecord

MASTERED = Fraction(9, 10)
"""The accuracy at which an auxiliary counts as learned at its training length."""


class Trial(NamedTuple):
    """Settings to try.

    Attributes:
        name: Its folder's name.
        steps: What fits into the study's time for a run: a step of a larger model takes longer.
        changes: Of the preset's settings, each `name=value`.
    """

    name: str
    steps: int
    changes: tuple[str, ...]

    @classmethod
    def of(cls, name: str, steps: int, changes: str = "") -> Trial:
        """A trial whose changes are written with spaces between."""
        return cls(name, steps, tuple(changes.split()))


class Rung(NamedTuple):
    """One round of successive halving.

    Attributes:
        percent: How much of each run has been trained when the round ends.
        seeds: How many of the study's seeds it trains.
        keep: How many trials go on to the next round; in the last round 1, the study's choice.
    """

    percent: int
    seeds: int
    keep: int


class Seen(NamedTuple):
    """All that the choice may know of a run.

    Attributes:
        accuracy: The main task's mean accuracy over the lengths of the grid that it was trained to, at the last point;
            0 for a run that diverged.
        mastered: The share of the run's steps after which every auxiliary had 90 % right at its training length for the
            first time; 1 if that has not happened; None for a run without auxiliaries.
    """

    accuracy: Fraction
    mastered: Fraction | None


class Standing(NamedTuple):
    """Where a trial stands in a round.

    Attributes:
        trial: The trial.
        accuracy: The mean over its runs of `Seen.accuracy`.
        mastered: The mean over its runs with auxiliaries of `Seen.mastered`.
        diverged: How many of its runs diverged.
    """

    trial: Trial
    accuracy: Fraction
    mastered: Fraction
    diverged: int

    @property
    def score(self) -> Fraction:
        """What the trials of a round are ordered by: accuracy minus the share of the run until mastery."""
        return self.accuracy - self.mastered


def draw(key: str, number: int, choices: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The changes of a trial that is drawn at random.

    Args:
        key: What the draw is for.
        number: Which trial, from 0.
        choices: Values by setting; one that holds several settings is written `name=value name=value`.
    """
    from lgbench.data.task import Stream

    changes: list[str] = []
    for name, values in choices.items():
        # The same draw on every machine. Of so few choices each is as likely, but for a part in 2^60.
        value = values[int(Stream("lgbench", "tuning", key, number, name).words(1)[0]) % len(values)]
        changes += value.split() if "=" in value else [f"{name}={value}"]
    return tuple(changes)


def see(record: TrainingRecord, *, until: int) -> Seen:
    """What the choice may know of a run after `until` steps.

    Args:
        record: The run's.
        until: Later points are not looked at.
    """
    from lgbench.data.cells import DEV_EXAMPLES

    main, *auxiliaries = record.plan.parts
    points = [point for point in record.curve if point.step <= until]
    trained = [count for length, count in points[-1].correct[main.task].items() if length <= main.max_length]
    accuracy = Fraction(sum(trained), DEV_EXAMPLES * len(trained))
    if not auxiliaries:
        return Seen(accuracy, None)
    steps = (
        point.step
        for point in points
        if all(point.correct[each.task][each.max_length] >= MASTERED * DEV_EXAMPLES for each in auxiliaries)
    )
    first = next(steps, record.plan.settings.steps)
    return Seen(accuracy, Fraction(first, record.plan.settings.steps))


def standing(trial: Trial, seen: Sequence[Seen | None]) -> Standing:
    """Where a trial stands.

    Args:
        trial: The trial.
        seen: Of each of its runs; None for one that diverged, which counts as nothing learned.
    """
    with_auxiliaries = [Fraction(1) if each is None else each.mastered for each in seen]
    mastered = [share for share in with_auxiliaries if share is not None]
    return Standing(
        trial,
        sum((each.accuracy for each in seen if each is not None), Fraction()) / len(seen),
        sum(mastered, Fraction()) / len(mastered),
        sum(each is None for each in seen),
    )


def ordered(standings: Sequence[Standing]) -> list[Standing]:
    """Best first; of equal ones the one that was listed first."""
    return sorted(standings, key=lambda each: -each.score)
