"""Checks submissions and reports all problems at once, each with its file and field.

A folder of submissions holds one folder for each system (and may hold a README.md); a system's folder holds
`system.json` and one folder for each run, and may hold `declaration.json`; a run's folder holds `result.json` and
`replies.jsonl.gz` (or `replies.json`, which says where those are), and may hold `training.json` and `weights.json`.
Nothing else is allowed, except the files of a running `lgbench submit`, which are skipped.

The cost of a check is bounded: files that are too large are not read, and beyond a number of runs or problems, the
others are only counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path

from lgbench.evaluation.folder import RESULT_FILE
from lgbench.evaluation.stored import SYSTEM_FILE
from lgbench.submissions.checked import Checked, Submission
from lgbench.submissions.kept import KeptScores
from lgbench.submissions.levels import count_runs, level_of
from lgbench.submissions.tree import Reduce, TreeChecker
from lgbench.util.counting import CountReport, no_report
from lgbench.util.errors import LgbenchError


def check(
    paths: Iterable[Path],
    *,
    jobs: int = 1,
    kept: KeptScores | None = None,
    summarized: bool = False,
    report: CountReport = no_report,
) -> Checked:
    """Check folders: of submissions, of a system or of a run.

    A folder called `submissions` is always one of submissions. A folder that is given twice, or is inside another given
    folder, is checked once.

    Args:
        paths: The folders.
        jobs: Number of processes that check the systems of a folder. The outcome does not depend on it.
        kept: Kept scores of earlier checks.
        summarized: Whether to hold only a summary of each system, and not all of its results.
        report: Called with the numbers of checked runs and of all runs.

    Raises:
        LgbenchError: One of these processes ended before its work was done.
    """
    ordered = sorted(paths, key=level_of)  # a run is checked with its system, and a system with its folder
    checker = TreeChecker(jobs, kept, summarized=summarized, on_run=_counting(ordered, report))
    checker.check(ordered)
    return Checked(
        submissions=tuple(checker.submissions.values()),
        systems=len(checker.systems),
        runs=checker.runs,
        problems=checker.report.problems,
        alarms=checker.alarms(),
        summaries=tuple(checker.summaries.values()),
    )


def read_submissions(
    folder: Path, *, jobs: int = 1, kept: KeptScores | None = None, report: CountReport = no_report
) -> tuple[Submission, ...]:
    """Every system in a folder of submissions, by name, with every count re-scored.

    Args:
        folder: The folder.
        jobs: As `check` has it.
        kept: As `check` has it.
        report: As `check` has it.

    Raises:
        LgbenchError: Something is wrong with one of them, with all problems; or the folder is a system or a run itself.
    """
    checker = TreeChecker(jobs, kept, on_run=_counting([folder], report))
    return tuple(_read(folder, checker).submissions.values())


def reduce_submissions(
    folder: Path,
    reduce: Reduce,
    *,
    jobs: int = 1,
    kept: KeptScores | None = None,
    report: CountReport = no_report,
) -> tuple[tuple[bytes, ...], ...]:
    """Reduce every system in a folder of submissions, by name. Only the reduced systems are kept in memory.

    Args:
        folder: The folder.
        reduce: Reduces a system.
        jobs: As `check` has it.
        kept: As `check` has it; it also keeps reduced systems.
        report: As `check` has it.

    Raises:
        LgbenchError: As in `read_submissions`.
    """
    checker = TreeChecker(jobs, kept, reduce, on_run=_counting([folder], report))
    return tuple(_read(folder, checker).reduced.values())


def _read(folder: Path, checker: TreeChecker) -> TreeChecker:
    """Check a folder of submissions that must be without problems."""
    if any((folder / name).exists() for name in (SYSTEM_FILE, RESULT_FILE)):
        raise LgbenchError(f"{str(folder)!r} is a system or a run. Name the folder of all systems.")
    checker.check([folder])
    if problems := checker.report.problems:
        raise LgbenchError("\n".join(map(str, problems)))
    return checker


def _counting(paths: Iterable[Path], report: CountReport) -> Callable[[], None]:
    """A function to call for each checked run of these folders."""
    total, done = sum(map(count_runs, paths)), itertools.count(1)
    report(0, total)
    return lambda: report(next(done), total)
