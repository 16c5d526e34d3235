"""The arms of one group compared: means over seeds, gains, success rates. Definitions: docs/protocol.md.

What a missing run or an empty zone would decide is None, never 0. One run by itself: `lgbench.scoring.seeds`; systems
of several groups: `lgbench.scoring.systems`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from statistics import mean, median_low
from typing import NamedTuple

from lgbench.data.groups import Group, Zone
from lgbench.data.suites import Suite
from lgbench.results.schema import Result
from lgbench.scoring.estimates import Estimate, Sample, share_interval
from lgbench.scoring.measures import (
    SUCCESS,
    Horizon,
    Interval,
    counts_by_task,
    mean_of_known,
    summarize_zone,
)
from lgbench.scoring.seeds import SeedScores, score_seed

LEAST_CEILING_GAIN = Fraction(1, 20)
"""What `direct` must gain over `main_only`, exclusively, for a share of it to mean anything."""


@dataclass(frozen=True, kw_only=True)
class ArmScores:
    """An arm of a system in a group.

    Attributes:
        seeds: Its runs by seed, at least one.
        transfer: The transfer-zone accuracy, mean over seeds; None where the suite has no cell there.
    """

    seeds: tuple[SeedScores, ...]
    transfer: Estimate | None

    def zone(self, zone: Zone) -> Fraction | None:
        """The accuracy in a zone, mean over seeds; None where the suite has no cell there."""
        return mean_of_known(seed.zones[zone] for seed in self.seeds)

    @property
    def success_rate(self) -> Fraction | None:
        """The share of seeds with a transfer-zone accuracy of at least 90 %."""
        return mean_of_known(Fraction(accuracy >= SUCCESS) for accuracy in self.accuracies)

    @property
    def success_interval(self) -> Interval | None:
        """The exact 95 % interval of the success rate, of which the seeds that ran are a sample."""
        seeds = self.accuracies
        return share_interval(sum(accuracy >= SUCCESS for accuracy in seeds), len(seeds)) if seeds else None

    @property
    def best_seed(self) -> Fraction | None:
        """The transfer-zone accuracy of the best seed."""
        return max(self.accuracies, default=None)

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

    @property
    def accuracies(self) -> tuple[Fraction, ...]:
        """The transfer-zone accuracy of every seed; empty where the suite has no cell there."""
        accuracies = (seed.zones["transfer"] for seed in self.seeds)
        return tuple(accuracy for accuracy in accuracies if accuracy is not None)

    def unlearned(self, main: str) -> dict[str, Fraction]:
        """The tasks that the arm did not learn, with their accuracies up to their training lengths: below 90 %."""
        shares = {main: self.zone("in_distribution")} | self.others
        return {task: share for task, share in shares.items() if share is not None and share < SUCCESS}


def median_horizon(horizons: Iterable[Horizon | None]) -> Horizon | None:
    """The median of the horizons that are known, of two middle ones the lower; None where all are None.

    A horizon is a length of the grid, and the first and the last stand for "below" and "at least": halfway between two
    is no horizon.
    """
    known = [each for each in horizons if each is not None]
    return median_low(known) if known else None


Samples = dict[tuple[object, ...], Sample]
"""Samples by their runs and lengths, so that a run that serves two groups is in one sample of both."""


def score_arm(results: Iterable[Result], group: Group, samples: Samples | None = None) -> ArmScores:
    """Score the runs of one arm, one for each seed, for a group that they serve.

    Args:
        results: Complete ones, at least one.
        group: The group.
        samples: Those of the system's other arms, to which this one's is added.
    """
    ordered = sorted(results, key=lambda result: -1 if result.seed is None else result.seed)
    seeds = tuple(score_seed(result, group) for result in ordered)
    lengths = group.zone_lengths("transfer")
    zone = summarize_zone(counts_by_task(ordered[0]).get(group.main, {}), lengths)
    if zone is None:
        return ArmScores(seeds=seeds, transfer=None)
    accuracies = tuple(accuracy for seed in seeds if (accuracy := seed.zones["transfer"]) is not None)
    key = (*map(id, ordered), group.main, lengths)
    sample = ({} if samples is None else samples).setdefault(key, Sample(accuracies, zone.interval))
    return ArmScores(seeds=seeds, transfer=Estimate({sample: Fraction(1)}))


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
        return self.gain_over("main_only")

    @property
    def control_gain(self) -> Estimate | None:
        """What long inputs of an unrelated task gain: `control` minus `main_only`."""
        return self._difference("control", "main_only")

    def gain_over(self, baseline: str) -> Estimate | None:
        """`transfer` minus another arm.

        Over `control` it is what relatedness gains at equal lengths, over `short_aux` the transfer of length alone.
        """
        return self._difference("transfer", baseline)

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

    def _transfer(self, arm: str) -> Estimate | None:
        return self.arms[arm].transfer if arm in self.arms else None

    def _difference(self, arm: str, baseline: str) -> Estimate | None:
        minuend, subtrahend = self._transfer(arm), self._transfer(baseline)
        return None if minuend is None or subtrahend is None else minuend - subtrahend
