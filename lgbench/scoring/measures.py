"""What the counts of one result amount to: zones, horizons, intervals. Definitions: docs/protocol.md.

Accuracies are exact fractions, so that thresholds and ties are decided by integers; `float()` them for display.
Nothing here reads a file or knows how the counts came about. How runs make a system: `lgbench.scoring.comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from statistics import NormalDist, mean
from typing import NamedTuple

from lgbench.data.groups import OPEN_ARM, ZONES, Zone
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.results.schema import CellCounts, Result

SUCCESS = Fraction(9, 10)
"""The transfer-zone accuracy from which a seed passes, and that up to its training length from which a task counts as
learned.
"""
LengthCounts = Mapping[int, CellCounts]
"""The counts of one task by length."""


class Interval(NamedTuple):
    """A two-sided confidence interval."""

    low: float
    high: float


_Z = NormalDist().inv_cdf(0.975)  # of a two-sided interval of 95 %


def wilson_interval(correct: int, total: int) -> Interval:
    """The Wilson score interval (Wilson, 1927) of a proportion at 95 %, without continuity correction.

    The closed form, because importing SciPy takes longer than a small evaluation; a test holds it to SciPy's.

    Args:
        correct: Successes.
        total: Trials, at least 1.

    Examples:
        >>> low, high = wilson_interval(250, 256)
        >>> f"{low:.4f} to {high:.4f}"
        '0.9498 to 0.9892'
    """
    share = correct / total
    centre = share + _Z**2 / (2 * total)
    spread = _Z * math.sqrt(share * (1 - share) / total + (_Z / (2 * total)) ** 2)
    scale = 1 + _Z**2 / total
    # At 0 and at 1 the bound is exact, which rounding would spoil.
    low = 0.0 if correct == 0 else (centre - spread) / scale
    high = 1.0 if correct == total else (centre + spread) / scale
    return Interval(low, high)


def counts_by_task(result: Result) -> dict[str, dict[int, CellCounts]]:
    """The counts of a result by task, then length."""
    counts: dict[str, dict[int, CellCounts]] = {}
    for cell in result.cells:
        counts.setdefault(cell.task, {})[cell.length] = cell.counts
    return counts


def expected_cells(result: Result) -> tuple[Cell, ...]:
    """The cells of a complete result of this suite, arm and group."""
    return load_suite(result.suite, result.draft).cells(result.arm, (result.group,) if result.group else ())


def is_partial(result: Result) -> bool:
    """Whether the result lacks a cell of its suite, arm and group. Such a result has no score."""
    present = {(cell.task, cell.length) for cell in result.cells}
    return not present.issuperset(expected_cells(result))


def mean_accuracy(counts: LengthCounts, lengths: Sequence[int]) -> Fraction | None:
    """The unweighted mean of the accuracies at these lengths; None without lengths or where one is missing."""
    if not lengths or any(length not in counts for length in lengths):
        return None
    return mean(counts[each].accuracy for each in lengths)


def mean_gap(first: LengthCounts, second: LengthCounts, lengths: Sequence[int]) -> Fraction:
    """The mean distance between the accuracies of two tasks, at lengths that both have."""
    return mean(abs(first[each].accuracy - second[each].accuracy) for each in lengths)


def mean_of_known(values: Iterable[Fraction | None]) -> Fraction | None:
    """The unweighted mean of the values that are not None; None where all are."""
    known = [value for value in values if value is not None]
    return mean(known) if known else None


def task_lengths(suite: Suite, task: str, group: str | None) -> tuple[int, ...]:
    """The lengths at which a task is evaluated: its group's grid, or without a group (arm `open`) its whole grid."""
    return suite.grid(task) if group is None else suite.group(group).grid


def zone_lengths(suite: Suite, task: str, zone: Zone, group: str | None) -> tuple[int, ...]:
    """The evaluated lengths of a task in a zone. Without a group its home group says where the zones begin."""
    zones = suite.zone_group(task, group)
    return tuple(length for length in task_lengths(suite, task, group) if zones.zone(length) == zone)


def zone_accuracy(result: Result, task: str, zone: Zone) -> Fraction | None:
    """The accuracy of a task in a zone: the unweighted mean over its cells.

    None where the zone has no cells, where the result is partial, and for a task that the result does not hold.
    """
    if is_partial(result):
        return None
    lengths = zone_lengths(load_suite(result.suite, result.draft), task, zone, result.group)
    return mean_accuracy(counts_by_task(result).get(task, {}), lengths)


def open_score(result: Result) -> Fraction | None:
    """The score of a model of arm `open`: the mean transfer-zone accuracy of the suite's main tasks.

    None in a partial result, and for every other arm.
    """
    if result.arm != OPEN_ARM or is_partial(result):
        return None
    return mean_of_known(
        zone_accuracy(result, task, "transfer") for task in load_suite(result.suite, result.draft).main_tasks
    )


class Horizon(NamedTuple):
    """Up to which length a level of accuracy holds.

    Attributes:
        length: The largest evaluated length up to which every evaluated length reaches the level; 0 for none.
        shortest: The shortest evaluated length.
        longest: The longest evaluated length.
    """

    length: int
    shortest: int
    longest: int

    def __str__(self) -> str:
        """`<4` where the first length fails, `≥40` where none does, else the length."""
        if self.length == 0:
            return f"<{self.shortest}"
        return f"≥{self.length}" if self.length == self.longest else str(self.length)


def horizon(counts: LengthCounts, lengths: Sequence[int], *, percent: int) -> Horizon | None:
    """The horizon of a task at a level of accuracy, decided in integers.

    Args:
        counts: The task's counts.
        lengths: The lengths of its grid, ascending.
        percent: The level: 90 for H90, 50 for H50.

    Returns:
        None without lengths or where one is missing: the answer could be another with it.
    """
    if not lengths or any(length not in counts for length in lengths):
        return None
    reached = 0
    for length in lengths:
        if 100 * counts[length].correct < percent * counts[length].total:
            break
        reached = length
    return Horizon(reached, lengths[0], lengths[-1])


class ZoneSummary(NamedTuple):
    """A task in a zone of one result.

    Attributes:
        correct: Right replies, over the zone's cells.
        total: Replies, over the zone's cells.
        accuracy: The unweighted mean over the zone's cells.
        interval: Wilson, 95 %, of `correct` in `total`.
    """

    correct: int
    total: int
    accuracy: Fraction
    interval: Interval


class TaskSummary(NamedTuple):
    """A task of one result, to be shown.

    Attributes:
        task: Its name.
        zones: By zone; None where the suite or the result lacks one of the zone's cells.
        horizon_90: H90; None where a length of the grid is missing.
        horizon_50: H50, likewise.
        accuracies: The accuracy at every length that the result holds, ascending.
    """

    task: str
    zones: dict[Zone, ZoneSummary | None]
    horizon_90: Horizon | None
    horizon_50: Horizon | None
    accuracies: dict[int, Fraction]


def summarize(result: Result) -> list[TaskSummary]:
    """Every task of a result, in its order.

    A summary is for display: unlike a score it shows a zone of a partial result where the zone's own cells are there.
    """
    suite = load_suite(result.suite, result.draft)
    return [_summarize_task(suite, task, result.group, counts) for task, counts in counts_by_task(result).items()]


def _summarize_task(suite: Suite, task: str, group: str | None, counts: LengthCounts) -> TaskSummary:
    lengths = task_lengths(suite, task, group)
    return TaskSummary(
        task=task,
        zones={zone: summarize_zone(counts, zone_lengths(suite, task, zone, group)) for zone in ZONES},
        horizon_90=horizon(counts, lengths, percent=90),
        horizon_50=horizon(counts, lengths, percent=50),
        accuracies={each: counts[each].accuracy for each in sorted(counts)},
    )


def summarize_zone(counts: LengthCounts, lengths: Sequence[int]) -> ZoneSummary | None:
    """A task at the lengths of a zone; None without lengths or where one is missing."""
    accuracy = mean_accuracy(counts, lengths)
    if accuracy is None:
        return None
    correct = sum(counts[each].correct for each in lengths)
    total = sum(counts[each].total for each in lengths)
    return ZoneSummary(correct, total, accuracy, wilson_interval(correct, total))
