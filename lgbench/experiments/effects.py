"""What conditions of an experiment have learned, held against each other: a test over seeds, and a verdict by rule."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean
from typing import Any, ClassVar, NamedTuple, TypeVar

LEAST_EFFECT = Fraction(1, 10)
"""Of the transfer zone's accuracy: a smaller difference is not called an effect."""
LEVEL = Fraction(1, 20)
"""Of p after Holm's correction over all tests of the experiment."""


class Contrast(NamedTuple):
    """Two conditions that differ in one respect.

    Attributes:
        what: The respect, in a few words.
        higher: The condition in which the hypothesis expects the higher accuracy in the transfer zone.
        lower: The other one.
        arm: Under which arm they are compared.
    """

    what: str
    higher: str
    lower: str
    arm: str = "transfer"


class Outcome(NamedTuple):
    """What one run has learned, on test examples.

    Attributes:
        transfer: The main task's accuracy in the transfer zone.
        in_distribution: The same up to its training length.
        auxiliaries: Each other task's accuracy up to its training length.
        beyond: The main task's accuracy beyond the transfer zone; None where the suite has no such lengths.
        mastered: The share of the steps after which every auxiliary had 90 % right at its training length, on dev
            examples, as in `lgbench.experiments.halving.Seen`; None for a run without auxiliaries.
    """

    transfer: Fraction
    in_distribution: Fraction
    auxiliaries: Mapping[str, Fraction]
    beyond: Fraction | None = None
    mastered: Fraction | None = None


@dataclass(frozen=True, kw_only=True)
class Effect(ABC):
    """What a group says of a contrast. Subclasses give the words, and say where there is nothing to be seen.

    Class attributes:
        shown: The verdict where the effect is there.
        excluded: The verdict where an effect of `LEAST_EFFECT` is not compatible with the seeds.

    Attributes:
        group: The group.
        contrast: The two conditions.
        higher: The transfer zone's accuracy of each seed in the condition where it is expected to be higher.
        lower: The same in the other one.
        unlearned: What a condition has not learned, in words; empty if all is.
        p: One-sided, exact, after Holm's correction.
        interval: Welch's of 95 % of the difference of the means; None where it is unknown, as in `welch_interval`.
    """

    shown: ClassVar[str]
    excluded: ClassVar[str]

    group: str
    contrast: Contrast
    higher: tuple[Fraction, ...]
    lower: tuple[Fraction, ...]
    unlearned: str
    p: Fraction
    interval: tuple[float, float] | None

    @property
    @abstractmethod
    def out_of_reach(self) -> str:
        """Why there is no room for an effect, in words; empty if there is."""

    @property
    @abstractmethod
    def said(self) -> str:
        """What the verdict says, in words that claim no more than it shows, where the contrast can be tested."""

    @property
    def size(self) -> Fraction:
        """The difference of the means."""
        return mean(self.higher) - mean(self.lower)

    @property
    def difference(self) -> str:
        """The size with its interval and p, in words."""
        from lgbench.scoring.display import points, points_between

        between = "no seed differs from another" if self.interval is None else points_between(*self.interval)
        return f"{points(self.size)} points ({between}, p {float(self.p):.3f})"

    @property
    def verdict(self) -> str:
        """By the rule, in its order."""
        if self.unlearned or self.out_of_reach:
            return "not testable"
        if self.size >= LEAST_EFFECT and self.p <= LEVEL:
            return self.shown
        if self.interval is not None and self.interval[1] < LEAST_EFFECT:
            return self.excluded
        return "not shown"

    @property
    def sentence(self) -> str:
        """The verdict as a sentence."""
        reason = self.unlearned or self.out_of_reach
        return f"{self.group}, {self.contrast.what}: {f'not testable, as {reason}' if reason else self.said}."

    def entry(self) -> Mapping[str, Any]:
        """For programs."""
        return {
            "group": self.group,
            **self.contrast._asdict(),
            "effect": float(self.size),
            "interval": self.interval,
            "p": float(self.p),
            "unlearned": self.unlearned,
            "verdict": self.verdict,
        }


_Effect = TypeVar("_Effect", bound=Effect)


def compare(
    kind: type[_Effect],
    outcomes: Mapping[tuple[str, str], Sequence[Outcome]],
    contrasts: Sequence[Contrast],
    groups: Sequence[str],
) -> list[_Effect]:
    """Every contrast of every group whose conditions are both there.

    Args:
        kind: Gives the verdicts.
        outcomes: By group and condition, those of all seeds, under the arm of the contrasts.
        contrasts: In the order of the report.
        groups: Likewise.
    """
    from lgbench.scoring.significance import holm, permutation_p

    pairs = [
        (group, contrast, outcomes[group, contrast.higher], outcomes[group, contrast.lower])
        for contrast in contrasts
        for group in groups
        if {(group, contrast.higher), (group, contrast.lower)} <= outcomes.keys()
    ]
    accuracies = [[tuple(each.transfer for each in side) for side in sides] for _, _, *sides in pairs]
    tests = len(groups) * len(contrasts)  # those that are not there yet count too
    p_values = holm([*(permutation_p(*sides) for sides in accuracies), *[Fraction(1)] * (tests - len(pairs))])
    found = []
    for (group, contrast, *sides), (higher, lower), p in zip(pairs, accuracies, p_values, strict=False):
        found.append(
            kind(
                group=group,
                contrast=contrast,
                higher=higher,
                lower=lower,
                unlearned="; ".join(filter(None, map(_unlearned, contrast[1:3], sides))),
                p=p,
                interval=welch_interval(higher, lower),
            )
        )
    return found


def welch_interval(some: Sequence[Fraction], others: Sequence[Fraction]) -> tuple[float, float] | None:
    """Welch's 95 % interval of the difference of two means of accuracies.

    None where the spread is unknown: a side has one seed, or no seed differs from another.
    """
    from lgbench.scoring.estimates import Estimate, Sample
    from lgbench.scoring.measures import Interval

    first, second = (Sample(tuple(side), Interval(0, 1)) for side in (some, others))
    difference = Estimate({first: Fraction(1), second: Fraction(-1)})
    interval = None if difference.one_seed else difference.interval
    return None if interval is None else (interval.low, interval.high)


def lowest_auxiliary(seeds: Sequence[Outcome]) -> list[Fraction]:
    """Each seed's accuracy in the auxiliary with the lowest mean; empty where there is none."""
    tasks = [[each.auxiliaries[task] for each in seeds] for task in seeds[0].auxiliaries]
    return min(tasks, key=mean, default=[])


def _unlearned(condition: str, seeds: Sequence[Outcome]) -> str:
    """What a condition has not learned to 90 % in the mean of its seeds, in words."""
    from lgbench.scoring.measures import SUCCESS

    shares = {"the main task in distribution": mean(each.in_distribution for each in seeds)}
    shares |= {task: mean(each.auxiliaries[task] for each in seeds) for task in seeds[0].auxiliaries}
    low = [f"{what} ({100 * float(share):.0f} %)" for what, share in shares.items() if share < SUCCESS]
    return f"with {condition} it has not learned {', '.join(low)}" if low else ""
