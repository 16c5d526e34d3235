"""Everything that can be wrong with a submission, told at once, each problem with its file and field.

A folder of submissions holds one folder for each system (and may hold a README.md); a system's folder holds
`system.json` and one folder for each run, and may hold `declaration.json`; a run's folder holds `result.json` and
`replies.jsonl.gz`, and may hold `training.json` and `weights.json`. Nothing else, but for what `lgbench submit` holds
among the systems while it runs, which is passed over.

What one submission can cost is bounded: what is too large is not read, and of too many runs or problems the rest is
only counted.
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
    paths: Iterable[Path], *, jobs: int = 1, kept: KeptScores | None = None, report: CountReport = no_report
) -> Checked:
    """Check folders: of submissions, of a system or of a run.

    A folder called `submissions` is one of submissions, whatever it holds. One that is named twice, or lies in another
    that is named, is checked once.

    Args:
        paths: The folders.
        jobs: Processes that check the systems of a folder of submissions. What is found does not depend on it.
        kept: What was found in runs before, and need not be found again.
        report: Takes how many runs are checked, and of how many.

    Raises:
        LgbenchError: One of these processes ended before its work was done.
    """
    ordered = sorted(paths, key=level_of)  # a run is checked with its system, and a system with its folder
    checker = TreeChecker(jobs, kept, on_run=_counting(ordered, report))
    checker.check(ordered)
    submissions = tuple(checker.submissions.values())
    return Checked(submissions, len(checker.systems), checker.runs, checker.report.problems, checker.alarms())


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
    """What is left of every system in a folder of submissions, by name: of each no more is held than that.

    Args:
        folder: The folder.
        reduce: What is to be left of a system.
        jobs: As `check` has it.
        kept: As `check` has it; what was left of a system before need not be derived again either.
        report: As `check` has it.

    Raises:
        LgbenchError: As in `read_submissions`.
    """
    checker = TreeChecker(jobs, kept, reduce, _counting([folder], report))
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
    """What is to be called for each run of these folders that is checked."""
    total, done = sum(map(count_runs, paths)), itertools.count(1)
    report(0, total)
    return lambda: report(next(done), total)
