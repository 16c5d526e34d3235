"""`leaderboard/cells.csv`: every count behind the board, a row for each system, run, task and length."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from lgbench.data.suites import load_suite
from lgbench.scoring.frames import DIAGNOSTICS
from lgbench.submissions.checked import Submission

COLUMNS = (
    *("suite", "system", "run", "arm", "group", "seed", "task", "length", "zone"),
    *("correct", "total", *DIAGNOSTICS),
)


HEADING = ",".join(COLUMNS) + "\n"


def cell_rows(submission: Submission) -> str:
    """The rows of a system in `cells.csv`. What a result lacks is an empty field, never 0."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(_rows(submission))
    return text.getvalue()


def _rows(submission: Submission) -> Iterator[tuple[object, ...]]:
    for run in submission.runs:
        result = run.result
        suite = load_suite(result.suite)
        of_run = (suite.name, submission.system.name, run.folder, result.arm, result.group, result.seed)
        for cell in result.cells:
            zone = suite.zone_group(cell.task, result.group).zone(cell.length)
            counts = (getattr(cell.counts, name) for name in ("correct", "total", *DIAGNOSTICS))
            yield (*of_run, cell.task, cell.length, zone, *counts)
