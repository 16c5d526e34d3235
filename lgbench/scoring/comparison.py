"""The arms of one group compared: means over seeds, gains, success rates. Definitions: docs/protocol.md.

What a missing run or an empty zone would decide is None, never 0. One run by itself: `lgbench.scoring.seeds`; systems
of several groups: `lgbench.scoring.systems`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from statistics import mean, median_low
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lgbench.data.groups import Group, Zone
from lgbench.data.suites import Cell, Suite
from lgbench.results.schema import Result
from lgbench.scoring.bootstrap import RESAMPLES, Run, percentile_interval, resampled_accuracy
from lgbench.scoring.measures import Horizon, Interval, mean_of_known
from lgbench.scoring.seeds import SeedScores, score_seed

SUCCESS = Fraction(9, 10)
"""The transfer-zone accuracy from which a seed counts as a success, and that up to its training length from which a
task counts as learned.
"""
LEAST_CEILING_GAIN = Fraction(1, 20)
"""What `direct` must gain over `main_only`, exclusively, for a share of it to mean anything."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """A mean over seeds, and perhaps groups, with its bootstrap.

    Attributes:
        value: The mean, exact.
        resampled: The same statistic in every resample: shape (resamples,).
        one_seed: Whether some arm in it has a single seed, so that the interval leaves out how its seeds differ.
        count: Over how many groups, or tasks, it is the mean.
    """

    value: Fraction
    resampled: NDArray[np.float64]
    one_seed: bool
    count: int = 1

    @cached_property
    def interval(self) -> Interval:
        """The 95 % percentile interval."""
        return percentile_interval(self.resampled)

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference, resample by resample: both sides saw the same examples."""
        resampled = self.resampled - other.resampled
        return Estimate(self.value - other.value, resampled, self.one_seed or other.one_seed, self.count)


def mean_estimate(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """The unweighted mean of those that are not None; None where all are."""
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    return Estimate(
        value=mean(each.value for each in known),
        resampled=np.mean([each.resampled for each in known], axis=0),
        one_seed=any(each.one_seed for each in known),
        count=len(known),
    )


@dataclass(frozen=True, kw_only=True)
class ArmScores:
    """An arm of a system in a group.

    Attributes:
        seeds: Its runs by seed, at least one.
        transfer: The transfer-zone accuracy; None where the suite has no cell there.
    """

    seeds: tuple[SeedScores, ...]
    transfer: Estimate | None

    def zone(self, zone: Zone) -> Fraction | None:
        """The accuracy in a zone, mean over seeds; None where the suite has no cell there."""
        return mean_of_known(seed.zones[zone] for seed in self.seeds)

    @property
    def success_rate(self) -> Fraction | None:
        """The share of seeds with a transfer-zone accuracy of at least 90 %."""
        return mean_of_known(Fraction(accuracy >= SUCCESS) for accuracy in self._by_seed())

    @property
    def best_seed(self) -> Fraction | None:
        """The transfer-zone accuracy of the best seed."""
        return max(self._by_seed(), default=None)

    @property
    def gaps(self) -> dict[str, Fraction]:
        """The generalization gap to each other task of the arm, mean over seeds."""
        tasks = self.seeds[0].gaps
        return {task: mean(seed.gaps[task] for seed in self.seeds) for task in tasks}

    @property
    def gap(self) -> Fraction | None:
        """The generalization gap: the mean of `gaps`; None for an arm that trains the main task alone."""
        return mean_of_known(self.gaps.values())

    @property
    def others(self) -> dict[str, Fraction | None]:
        """The accuracy of each other task of the arm up to its training length, mean over seeds: was it learned?

        The unweighted mean over the grid's lengths; None where the grid has no length that short.
        """
        return {task: mean_of_known(seed.others[task] for seed in self.seeds) for task in self.seeds[0].others}

    @property
    def horizon_90(self) -> Horizon | None:
        """H90, median over seeds."""
        return median_horizon(seed.horizon_90 for seed in self.seeds)

    @property
    def horizon_50(self) -> Horizon | None:
        """H50, median over seeds."""
        return median_horizon(seed.horizon_50 for seed in self.seeds)

    def _by_seed(self) -> list[Fraction]:
        accuracies = [seed.zones["transfer"] for seed in self.seeds]
        return [accuracy for accuracy in accuracies if accuracy is not None]


def median_horizon(horizons: Iterable[Horizon | None]) -> Horizon | None:
    """The median of the horizons that are known, of two middle ones the lower; None where all are None.

    A horizon is a length of the grid, and the first and the last stand for "below" and "at least": halfway between two
    is no horizon.
    """
    known = [each for each in horizons if each is not None]
    return median_low(known) if known else None


def score_arm(runs: Sequence[Run], suite: Suite, group: Group, *, resamples: int = RESAMPLES) -> ArmScores:
    """Score the runs of one arm, one for each seed, for a group that they serve."""
    ordered = sorted(runs, key=lambda run: -1 if run.result.seed is None else run.result.seed)
    seeds = tuple(score_seed(run.result, group) for run in ordered)
    cells = [Cell(group.main, length) for length in group.zone_lengths("transfer")]
    value = mean_of_known(seed.zones["transfer"] for seed in seeds)
    if value is None:
        return ArmScores(seeds=seeds, transfer=None)
    arm = runs[0].result.arm
    first = same_experiment(suite, arm, group)[0].name
    resampled = resampled_accuracy(ordered, cells, key=f"{first}/{arm}", resamples=resamples)
    return ArmScores(seeds=seeds, transfer=Estimate(value, resampled, one_seed=len(runs) == 1))


def same_experiment(suite: Suite, arm: str, group: Group) -> list[Group]:
    """The groups, this one among them, in which the arm trains on the same mixture and is evaluated on the same grid.

    Such an arm has one training stream, so one run serves all of them.
    """
    mixture = group.mixture(arm)
    alike = [each for each in suite.groups if each.grid == group.grid and each.has_arm(arm)]
    return [each for each in alike if each.mixture(arm) == mixture]


def serving(results: Iterable[Result], suite: Suite, arm: str, group: Group) -> list[Result]:
    """The results of an arm that a group can use, one for each seed: the group's own before another's."""
    by_seed: dict[int | None, Result] = {}
    arms = [result for result in results if result.arm == arm]
    others = [each for each in same_experiment(suite, arm, group) if each != group]
    for source in (group, *others):
        for result in arms:
            if result.group == source.name:
                by_seed.setdefault(result.seed, result)
    return list(by_seed.values())


class Gain(NamedTuple):
    """What an arm gains over another.

    Attributes:
        arm: The arm.
        baseline: The other.
        estimate: The transfer-zone accuracy of the arm minus that of its baseline.
    """

    arm: str
    baseline: str
    estimate: Estimate


@dataclass(frozen=True, kw_only=True)
class GroupScores:
    """A system in a group. What needs an arm that has no complete run is None.

    Attributes:
        group: The group.
        arms: The arms that have runs, in the group's order.
    """

    group: Group
    arms: Mapping[str, ArmScores]

    @property
    def covered(self) -> bool:
        """Whether `transfer` and `main_only` both have a run."""
        return "transfer" in self.arms and "main_only" in self.arms

    @property
    def score(self) -> Estimate | None:
        """The group score: transfer-zone accuracy of the arm `transfer`."""
        return self._transfer("transfer")

    @property
    def transfer_gain(self) -> Estimate | None:
        """What co-training with the auxiliaries gains: `transfer` minus `main_only`."""
        return self._difference("transfer", "main_only")

    @property
    def control_gain(self) -> Estimate | None:
        """What long inputs of an unrelated task gain: `control` minus `main_only`."""
        return self._difference("control", "main_only")

    @property
    def gain_over_control(self) -> Estimate | None:
        """What relatedness gains at equal lengths: `transfer` minus `control`."""
        return self._difference("transfer", "control")

    @property
    def gain_over_short_aux(self) -> Estimate | None:
        """What long auxiliaries gain over short ones: `transfer` minus `short_aux`. It is the transfer of length."""
        return self._difference("transfer", "short_aux")

    @property
    def gains(self) -> tuple[Gain, ...]:
        """The gain of each arm over the baseline that it names, where both have runs, in the group's order."""
        pairs = [(arm.name, arm.baseline) for arm in self.group.arms if arm.baseline is not None]
        estimates = ((arm, baseline, self._difference(arm, baseline)) for arm, baseline in pairs)
        return tuple(Gain(arm, baseline, gain) for arm, baseline, gain in estimates if gain is not None)

    @property
    def recovered_share(self) -> Fraction | None:
        """The transfer gain as a share of what training on long inputs of the main task itself gains.

        Of seed means, not clipped; None unless `direct` gains more than 0.05 over `main_only`.
        """
        gain, ceiling = self.transfer_gain, self._difference("direct", "main_only")
        if gain is None or ceiling is None or ceiling.value <= LEAST_CEILING_GAIN:
            return None
        return gain.value / ceiling.value

    @property
    def transfer_seen(self) -> bool | None:
        """Whether the intervals of the transfer gain, and of the gains over `control` and `short_aux`, lie above 0.

        Those that did not run have no say; None without a transfer gain.
        """
        gains = [self.transfer_gain, self.gain_over_control, self.gain_over_short_aux]
        if gains[0] is None:
            return None
        return all(gain.interval.low > 0 for gain in gains if gain is not None)

    def _transfer(self, arm: str) -> Estimate | None:
        return self.arms[arm].transfer if arm in self.arms else None

    def _difference(self, arm: str, baseline: str) -> Estimate | None:
        minuend, subtrahend = self._transfer(arm), self._transfer(baseline)
        return None if minuend is None or subtrahend is None else minuend - subtrahend
