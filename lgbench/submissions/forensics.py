"""Signs that posted counts are not from a trained model. Reviewers see them; they refuse nothing.

Each was calibrated on the 99 committed runs, none of which triggers it: docs/reviewing.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from lgbench.data.suites import Cell, load_suite
from lgbench.results.schema import CellCounts, Result
from lgbench.scoring.significance import holm
from lgbench.submissions.agreement import share_tests
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.training.record import TrainingRecord

NO_MORE_THAN_CHANCE = 0.01
"""The p of a chi-square test of equal chances; above it, counts differ no more than one chance would make them."""
FEWEST_DEGREES = 4
FEWEST_LENGTHS = 3
STEEPEST_RISE = 4.0
"""Standard deviations by which a length may be solved more often than the one before."""
CURVE_LEVEL = 0.001
_UNDECIDED = (0.02, 0.98)
"""Accuracies between which counts say something of their spread."""


class Alarm(NamedTuple):
    """A sign, with the run that has it, or the first of those that have it together."""

    run: str
    message: str


def alarms(submission: Submission) -> Iterator[Alarm]:
    """Every sign in the runs of trained arms of a system."""
    arms: dict[tuple[str, str, str], list[SubmittedRun]] = {}
    for run in submission.runs:
        if run.result.group is not None:
            arms.setdefault((run.result.suite, run.result.group, run.result.arm), []).append(run)
    for (_, group, arm), runs in arms.items():
        if (found := spread([run.result for run in runs])) is not None and found.p > NO_MORE_THAN_CHANCE:
            yield Alarm(
                runs[0].folder,
                f"the {len(runs)} seeds of arm {arm} of {group} differ no more than if all had the same probability of "
                f"success (chi-square {found.statistic:.1f} of {found.degrees} degrees, p {found.p:.2g}). Trained "
                "seeds rarely do.",
            )
        for run in runs:
            yield from (Alarm(run.folder, message) for message in _of_run(run))


def _of_run(run: SubmittedRun) -> Iterator[str]:
    flat = flatness(run.result)
    if flat is not None and flat.p > NO_MORE_THAN_CHANCE:
        yield (
            "the accuracy in the main task does not fall with length in the transfer zone "
            f"(chi-square {flat.statistic:.1f} of {flat.degrees} degrees, p {flat.p:.2g}). That of trained models does."
        )
    for before, after, z in rises(result=run.result):
        if z > STEEPEST_RISE:
            yield f"{after} is solved more often than length {before.length}, by {z:.1f} standard deviations."
    if run.training is not None:
        yield from curve_differences(run.result, run.training)


class ChiSquare(NamedTuple):
    """A chi-square test of equal chances."""

    statistic: float
    degrees: int

    @property
    def p(self) -> float:
        """Of a statistic as large or larger, if all chances are equal."""
        from scipy.special import chdtrc

        return float(chdtrc(self.degrees, self.statistic))


def spread(results: Sequence[Result]) -> ChiSquare | None:
    """Tests whether the seeds of an arm differ more than with one chance of success for all in each cell.

    None if too few cells have both right and wrong replies.
    """
    cells: dict[Cell, list[CellCounts]] = {}
    for result in results:
        for cell in result.cells:
            cells.setdefault(Cell(cell.task, cell.length), []).append(cell.counts)
    parts = [part for counts in cells.values() if (part := _equal_chances(counts)) is not None]
    whole = ChiSquare(sum(part.statistic for part in parts), sum(part.degrees for part in parts))
    return whole if whole.degrees >= FEWEST_DEGREES else None


def flatness(result: Result) -> ChiSquare | None:
    """Tests whether a run's lengths of the transfer zone differ; None if they are few, or nearly all right or wrong."""
    if result.group is None:
        return None
    group = load_suite(result.suite).group(result.group)
    zone = group.zone_lengths("transfer")
    counts = [cell.counts for cell in result.cells if cell.task == group.main and cell.length in zone]
    return _equal_chances(counts) if len(counts) >= FEWEST_LENGTHS else None


def rises(result: Result) -> Iterator[tuple[Cell, Cell, float]]:
    """Neighbouring lengths of the main task, and by how many standard deviations the longer is solved more often."""
    if result.group is None:
        return
    main = load_suite(result.suite).group(result.group).main
    cells = sorted((cell for cell in result.cells if cell.task == main), key=lambda cell: cell.length)
    for before, after in pairwise(cells):
        one, two = before.counts, after.counts
        share = (one.correct + two.correct) / (one.total + two.total)
        if (variance := share * (1 - share) * (1 / one.total + 1 / two.total)) > 0:
            z = (two.correct / two.total - one.correct / one.total) / math.sqrt(variance)
            yield Cell(main, before.length), Cell(main, after.length), z


def curve_differences(result: Result, record: TrainingRecord) -> Iterator[str]:
    """Where the last point of a run's curve and its posted counts cannot be of the same weights."""
    from lgbench.data.cells import DEV_EXAMPLES

    last = record.curve[-1].correct
    pairs = {
        Cell(cell.task, cell.length): ((last[cell.task][cell.length], DEV_EXAMPLES), cell.counts)
        for cell in result.cells
        if cell.length in last.get(cell.task, {})
    }
    tests = list(share_tests("the curve's last point, on dev examples", pairs))
    for test, p in zip(tests, holm([test.p for test in tests]) if tests else (), strict=True):
        if p <= CURVE_LEVEL:
            yield f"{test.what} (p {p:.2g} after Holm's correction)."


def _equal_chances(counts: Sequence[CellCounts]) -> ChiSquare | None:
    """Tests whether some shares have one chance; None if nearly all or none are right."""
    correct = np.array([each.correct for each in counts], np.float64)
    total = np.array([each.total for each in counts], np.float64)
    share = correct.sum() / total.sum()
    if len(counts) < 2 or not _UNDECIDED[0] < share < _UNDECIDED[1]:
        return None
    statistic = ((correct - total * share) ** 2 / (total * share * (1 - share))).sum()
    return ChiSquare(float(statistic), len(counts) - 1)
