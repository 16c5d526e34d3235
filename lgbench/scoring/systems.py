"""A system on a suite: the transfer score, and what stands beside it. Definitions: docs/protocol.md.

Only complete runs count: those with every cell of their arm and group, and every example of every cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite
from lgbench.results.schema import Result
from lgbench.scoring.comparison import (
    ArmScores,
    GroupScores,
    Samples,
    median_horizon,
    score_arm,
    serving,
)
from lgbench.scoring.estimates import Estimate, Sample, mean_estimate
from lgbench.scoring.measures import (
    Horizon,
    counts_by_task,
    horizon,
    is_partial,
    mean_of_known,
    open_score,
    summarize_zone,
    zone_accuracy,
    zone_lengths,
)
from lgbench.scoring.seen import ENOUGH_SEEDS, Verdict, decide
from lgbench.util.errors import LgbenchError


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
    def is_ranked(self) -> bool:
        """Whether it covers the suite with enough transfer seeds in every group."""
        return self.covers_suite and min(self.seeds) >= ENOUGH_SEEDS

    @cached_property
    def score(self) -> Estimate | None:
        """The mean of the group scores: the transfer score, if the system covers the suite."""
        return mean_estimate(group.score for group in self.covered)

    @cached_property
    def domain_score(self) -> Estimate | None:
        """The mean over domains of the mean of their groups' scores: groups of one domain may share a main task."""
        domains: dict[str, list[Estimate | None]] = {}
        for group in self.covered:
            domains.setdefault(self.suite.domain(group.group).name, []).append(group.score)
        return mean_estimate(mean_estimate(of_domain) for of_domain in domains.values())

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """Whether transfer was seen, by group."""
        return decide(self.groups)

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

    def transfer(self, task: str) -> Fraction | None:
        """The accuracy of a task in the transfer zone of its home group, mean over seeds."""
        return mean_of_known(zone_accuracy(result, task, "transfer") for result in self.results)


def score_trained(results: Iterable[Result], suite: Suite) -> TrainedScores:
    """Score the trained arms of one system.

    Args:
        results: Its results; those of another suite, of arm `open`, limited or partial are left out.
        suite: The suite.

    Raises:
        LgbenchError: Two results have the same arm, group and seed.
    """
    complete = _complete(results, suite)
    groups, samples = list[GroupScores](), Samples()
    for group in suite.groups:
        if not any(result.group == group.name for result in complete):
            continue
        served = {arm.name: serving(complete, suite, arm.name, group) for arm in group.arms}
        arms = {arm: score_arm(own, group, samples) for arm, own in served.items() if own}
        groups.append(GroupScores(group=group, arms=arms))
    return TrainedScores(suite=suite, groups=tuple(groups))


def score_open(results: Iterable[Result], suite: Suite) -> OpenScores | None:
    """Score the results of arm `open` of one system; None where it has no complete one.

    Args:
        results: Its results; those of another suite, of trained arms, limited or partial are left out.
        suite: The suite.

    Raises:
        LgbenchError: Two results have the same seed.
    """
    own = tuple(result for result in _complete(results, suite) if result.arm == OPEN_ARM)
    if not own:
        return None
    return OpenScores(
        results=own,
        score=_open_estimate(own, suite),
        horizons_90={task.name: _open_horizon(own, suite, task.name, 90) for task in suite.tasks},
        horizons_50={task.name: _open_horizon(own, suite, task.name, 50) for task in suite.tasks},
    )


def why_left_out(result: Result) -> str | None:
    """Why a result counts in no score of a system; None where it counts."""
    if result.limit is not None:
        return f"it is limited to {result.limit} examples of a cell"
    return "it lacks cells of its arm" if is_partial(result) else None


def _complete(results: Iterable[Result], suite: Suite) -> list[Result]:
    """The complete results on a suite, by seed."""
    complete: dict[tuple[str, str | None, int | None], Result] = {}
    for result in results:
        if result.suite != suite.name or why_left_out(result):
            continue
        key = (result.arm, result.group, result.seed)
        if key in complete:
            of_group = f" of group {result.group!r}" if result.group else ""
            raise LgbenchError(
                f"Two results are of arm {result.arm!r}{of_group} with seed {result.seed}: "
                "a system has one run of each seed. Leave one out."
            )
        complete[key] = result
    return sorted(complete.values(), key=lambda result: -1 if result.seed is None else result.seed)


def _open_estimate(results: Sequence[Result], suite: Suite) -> Estimate | None:
    """The mean open score. A run answers every task, so that its score is one observation."""
    accuracies = [score for result in results if (score := open_score(result)) is not None]
    tasks = [task for task in suite.main_tasks if zone_lengths(suite, task, "transfer", None)]
    over_examples = mean_estimate(_over_examples(results[0], suite, task) for task in tasks)
    if not accuracies or over_examples is None or over_examples.interval is None:
        return None
    return Estimate({Sample(tuple(accuracies), over_examples.interval): Fraction(1)}, count=len(tasks))


def _over_examples(result: Result, suite: Suite, task: str) -> Estimate | None:
    """The transfer-zone accuracy of a task in one run, as a sample of one seed."""
    zone = summarize_zone(counts_by_task(result)[task], zone_lengths(suite, task, "transfer", None))
    return None if zone is None else Estimate({Sample((zone.accuracy,), zone.interval): Fraction(1)})


def _open_horizon(results: Iterable[Result], suite: Suite, task: str, percent: int) -> Horizon | None:
    of_task = (counts_by_task(result).get(task, {}) for result in results)
    return median_horizon(horizon(counts, suite.grid(task), percent=percent) for counts in of_task)
