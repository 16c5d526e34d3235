"""Whether the accuracies of audited weights agree with the posted ones. The rule: docs/rules.md."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lgbench.data.cells import DEV_EXAMPLES
from lgbench.data.suites import Cell
from lgbench.results.schema import CellCounts, Result
from lgbench.scoring.significance import holm
from lgbench.submissions.audit_record import AuditedRun
from lgbench.training.record import TrainingRecord

LEVEL = 0.01
"""The chance that an audit of true results finds a disagreement, at most."""
ENOUGH_SEEDS = 5
"""Of an arm, for an interval that the accuracy of a run trained again on another machine is held against."""
MOST_CHANGED = 0.01
"""Of the posted replies that are decoded again: more that differ are no rounding."""


class ShareTest(NamedTuple):
    """A description of what is compared, and the two-sided p-value of both being equal."""

    what: str
    p: float


def disagreements(audited: Sequence[tuple[Result, AuditedRun]]) -> Iterator[str]:
    """The cells and runs in which audited weights do not reproduce what was posted, a sentence each.

    Each cell is compared by Fisher's exact test, and each run as a whole by Cochran, Mantel and Haenszel's over its
    cells, with Holm's correction over all of them. Of the replies that were decoded again, 99 % must be the posted
    ones.

    Args:
        audited: Runs of one audit, each with its posted result.
    """
    tests: list[ShareTest] = []
    for result, run in audited:
        posted = {Cell(cell.task, cell.length): cell.counts for cell in result.cells}
        lacking = [cell for cell in posted if cell not in {Cell(each.task, each.length) for each in run.cells}]
        if lacking or len(posted) != len(run.cells):
            yield f"{run.run}: the audit does not cover the cells of the result."
            continue
        pairs = {
            Cell(cell.task, cell.length): ((cell.correct, cell.total), posted[Cell(cell.task, cell.length)])
            for cell in run.cells
        }
        tests += share_tests(run.run, pairs)
        if run.changed > MOST_CHANGED * run.asked_again:
            yield f"{run.run}: {run.changed:,} of {run.asked_again:,} posted replies differ when decoded again."
    for test, p in zip(tests, holm([test.p for test in tests]) if tests else (), strict=True):
        if p <= LEVEL:
            yield f"{test.what} (p {p:.2g} after Holm's correction)."


def zone_correct(record: TrainingRecord) -> int:
    """Dev examples of the main task in the transfer zone that are right at the last point of a curve."""
    group = record.plan.suite_group
    counts = record.curve[-1].correct[group.main]
    return sum(counts[length] for length in group.zone_lengths("transfer"))


def is_among_seeds(again: int, records: Sequence[TrainingRecord]) -> bool:
    """Whether a run that was trained again on another machine could be one more seed of its arm.

    Its right dev examples in the transfer zone are within the 99 % prediction interval of Student's t, from at least
    five posted seeds. Their variance is at least the binomial one of the examples, at the mean share that is right
    (Jeffreys' estimate, which is never 0 or 1).

    Args:
        again: Of the run.
        records: Those of the posted seeds.
    """
    from scipy.special import stdtrit

    if len(records) < ENOUGH_SEEDS:
        return False
    total = DEV_EXAMPLES * len(records[0].plan.suite_group.zone_lengths("transfer"))
    posted = np.array([zone_correct(record) for record in records], np.float64)
    share = (posted.sum() + 0.5) / (len(posted) * total + 1)
    variance = max(posted.var(ddof=1), total * share * (1 - share))
    reach = stdtrit(len(posted) - 1, 0.995) * math.sqrt(variance * (1 + 1 / len(posted)))
    return bool(abs(again - posted.mean()) <= reach)


def share_tests(what: str, pairs: Mapping[Cell, tuple[tuple[int, int], CellCounts]]) -> Iterator[ShareTest]:
    """Tests whether some counts and the posted ones have the same chances: for each cell, and for all together.

    Args:
        what: What has the counts, as the tests name it.
        pairs: By cell, the right replies and all of them, and the posted counts.
    """
    excess = variance = 0.0
    for cell, ((correct, total), counts) in pairs.items():
        both, right = total + counts.total, correct + counts.correct
        if right not in (0, both):
            excess += correct - total * right / both
            variance += total * counts.total * right * (both - right) / (both**2 * (both - 1))
        told = f"{what}, {cell}: {correct} of {total} right, posted {counts.correct} of {counts.total}"
        yield ShareTest(told, _fisher(correct, total, counts.correct, counts.total))
    if variance:
        z = excess / math.sqrt(variance)
        way = "fewer" if excess < 0 else "more"
        yield ShareTest(f"{what}: {way} replies are right over all cells than posted", math.erfc(abs(z) / math.sqrt(2)))


def _fisher(correct: int, total: int, its_correct: int, its_total: int) -> float:
    """Fisher's exact p, two-sided, that two shares are equal."""
    if correct * its_total == its_correct * total:
        return 1.0
    from scipy.stats import fisher_exact

    table = np.array([[correct, total - correct], [its_correct, its_total - its_correct]])
    return float(fisher_exact(table).pvalue)
