"""A system on a suite: the transfer score, and what stands beside it. Definitions: docs/protocol.md.

Only complete runs count: those with every cell of their arm and group, and every example of every cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from lgbench.data.groups import OPEN_ARM, Group
from lgbench.data.suites import Cell, Suite
from lgbench.results.schema import Result
from lgbench.scoring.bootstrap import RESAMPLES, Run, resampled_accuracy
from lgbench.scoring.comparison import (
    ArmScores,
    Estimate,
    GroupScores,
    mean_estimate,
    median_horizon,
    score_arm,
    serving,
)
from lgbench.scoring.measures import (
    Horizon,
    counts_by_task,
    horizon,
    is_partial,
    mean_of_known,
    zone_accuracy,
    zone_lengths,
)
from lgbench.util.errors import LgbenchError

ENOUGH_SEEDS = 3
"""Transfer seeds in every group, without which a system is marked and ranked after those that have them."""


@dataclass(frozen=True, kw_only=True)
class TrainedScores:
    """A system trained under arms.

    Attributes:
        suite: The suite.
        groups: Every group that some run names, in the suite's order.
    """

    suite: Suite
    groups: tuple[GroupScores, ...]

    @property
    def covered(self) -> tuple[GroupScores, ...]:
        """The groups with a complete run of both `transfer` and `main_only`: those that count."""
        return tuple(group for group in self.groups if group.covered)

    @property
    def covers_suite(self) -> bool:
        """Whether every group of the suite is covered."""
        return len(self.covered) == len(self.suite.groups)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The numbers of transfer seeds of the covered groups, ascending."""
        return tuple(sorted(len(group.arms["transfer"].seeds) for group in self.covered))

    @property
    def has_enough_seeds(self) -> bool:
        """Whether every covered group has enough transfer seeds."""
        return all(count >= ENOUGH_SEEDS for count in self.seeds)

    @cached_property
    def score(self) -> Estimate | None:
        """The mean of the group scores: the transfer score, if the system covers the suite."""
        return mean_estimate(group.score for group in self.covered)

    @cached_property
    def transfer_gain(self) -> Estimate | None:
        """The mean of the transfer gains."""
        return mean_estimate(group.transfer_gain for group in self.covered)

    @cached_property
    def control_gain(self) -> Estimate | None:
        """The mean of the control gains, over the groups with a control."""
        return mean_estimate(group.control_gain for group in self.covered)

    def mean(self, statistic: Callable[[ArmScores], Fraction | None]) -> tuple[Fraction | None, int]:
        """The mean of a statistic of the arm `transfer` over the covered groups, and how many of them have it."""
        values = [statistic(group.arms["transfer"]) for group in self.covered]
        return mean_of_known(values), sum(value is not None for value in values)


@dataclass(frozen=True, kw_only=True)
class OpenScores:
    """A system evaluated under the arm `open`.

    Attributes:
        results: Its complete results, by seed.
        score: The open score, mean over seeds.
        horizons_90: H90 of each task, median over seeds.
        horizons_50: H50 of each task, median over seeds.
    """

    results: tuple[Result, ...]
    score: Estimate | None
    horizons_90: Mapping[str, Horizon | None]
    horizons_50: Mapping[str, Horizon | None]


def score_trained(runs: Iterable[Run], suite: Suite, *, resamples: int = RESAMPLES) -> TrainedScores:
    """Score the trained arms of one system.

    Args:
        runs: Its runs; those of another suite, of arm `open`, limited or partial are left out.
        suite: The suite.
        resamples: Of the bootstrap.

    Raises:
        LgbenchError: Two runs have the same arm, group and seed.
    """
    complete = _complete_runs(runs, suite)
    groups = []
    for group in suite.groups:
        if not any(run.result.group == group.name for run in complete):
            continue
        served = {arm.name: _serving(complete, suite, arm.name, group) for arm in group.arms}
        arms = {arm: score_arm(own, suite, group, resamples=resamples) for arm, own in served.items() if own}
        groups.append(GroupScores(group=group, arms=arms))
    return TrainedScores(suite=suite, groups=tuple(groups))


def score_open(runs: Iterable[Run], suite: Suite, *, resamples: int = RESAMPLES) -> OpenScores | None:
    """Score the runs of arm `open` of one system; None where it has no complete one.

    Args:
        runs: Its runs; those of another suite, of trained arms, limited or partial are left out.
        suite: The suite.
        resamples: Of the bootstrap.

    Raises:
        LgbenchError: Two runs have the same seed.
    """
    own = [run for run in _complete_runs(runs, suite) if run.result.arm == OPEN_ARM]
    if not own:
        return None
    results = tuple(run.result for run in own)
    score = mean_estimate(_open_transfer(own, suite, task, resamples) for task in suite.main_tasks)
    return OpenScores(
        results=results,
        score=score,
        horizons_90={task.name: _open_horizon(results, suite, task.name, 90) for task in suite.tasks},
        horizons_50={task.name: _open_horizon(results, suite, task.name, 50) for task in suite.tasks},
    )


def why_left_out(result: Result) -> str | None:
    """Why a result counts in no score of a system; None where it counts."""
    if result.limit is not None:
        return f"it is limited to {result.limit} examples of a cell"
    return "it lacks cells of its arm" if is_partial(result) else None


def _complete_runs(runs: Iterable[Run], suite: Suite) -> list[Run]:
    """The complete runs on a suite, by seed."""
    complete: dict[tuple[str, str | None, int | None], Run] = {}
    for run in runs:
        result = run.result
        if result.suite != suite.name or why_left_out(result):
            continue
        key = (result.arm, result.group, result.seed)
        if key in complete:
            of_group = f" of group {result.group!r}" if result.group else ""
            raise LgbenchError(
                f"Two results are of arm {result.arm!r}{of_group} with seed {result.seed}: "
                "a system has one run of each seed. Leave one out."
            )
        complete[key] = run
    return sorted(complete.values(), key=lambda run: -1 if run.result.seed is None else run.result.seed)


def _serving(runs: Sequence[Run], suite: Suite, arm: str, group: Group) -> list[Run]:
    results = serving([run.result for run in runs], suite, arm, group)
    return [run for run in runs if any(run.result is each for each in results)]


def _open_transfer(runs: Sequence[Run], suite: Suite, task: str, resamples: int) -> Estimate | None:
    mean = mean_of_known(zone_accuracy(run.result, task, "transfer") for run in runs)
    if mean is None:
        return None
    cells = [Cell(task, length) for length in zone_lengths(suite, task, "transfer", None)]
    return Estimate(mean, resampled_accuracy(runs, cells, key=OPEN_ARM, resamples=resamples), one_seed=len(runs) == 1)


def _open_horizon(results: Iterable[Result], suite: Suite, task: str, percent: int) -> Horizon | None:
    of_task = (counts_by_task(result).get(task, {}) for result in results)
    return median_horizon(horizon(counts, suite.grid(task), percent=percent) for counts in of_task)
