"""Everything that can be wrong with a submission, told at once, each problem with its file and field.

A folder of submissions holds one folder for each system (and may hold a README.md); a system's folder holds
`system.json` and one folder for each run, and may hold `declaration.json`; a run's folder holds `result.json` and
`replies.jsonl.gz` (or `replies.json`, which says where those are), and may hold `training.json` and `weights.json`.
Nothing else, but for what `lgbench submit` holds among the systems while it runs, which is passed over.

What one submission can cost is bounded: what is too large is not read, and of too many runs or problems the rest is
only counted.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from lgbench.evaluation.folder import RESULT_FILE
from lgbench.evaluation.stored import SYSTEM_FILE
from lgbench.submissions.audit_record import AuditRecord
from lgbench.submissions.audits import audits_beside, read_audits
from lgbench.submissions.checked import Checked, FileProblem, Submission, SubmittedRun
from lgbench.submissions.comparing import Compared, alike, copies, wrong_recipes
from lgbench.submissions.copies import Repeats, trace
from lgbench.submissions.declaration import DECLARATION_FILE, MAX_DECLARATION_BYTES, Declaration
from lgbench.submissions.forensics import alarms
from lgbench.submissions.kept import OF_A_RUN, OF_A_SYSTEM, FoundSystem, KeptScores
from lgbench.submissions.names import check_portable, twins
from lgbench.submissions.problems import Report
from lgbench.submissions.recorded import recipe_digest
from lgbench.submissions.runs import check_files
from lgbench.submissions.summary import SystemSummary, summarize
from lgbench.submissions.system import SUBMISSIONS_FOLDER, SystemRecord, check_system_name
from lgbench.training.record import RECORD
from lgbench.util.counting import CountReport, no_report
from lgbench.util.errors import LgbenchError
from lgbench.util.files import LOCK_FILE, is_owned, is_unfinished
from lgbench.util.processes import CountingPool, count_one
from lgbench.util.records import MAX_RECORD_BYTES, InvalidFileError, read_record

_Record = TypeVar("_Record", bound=BaseModel)
_WithAudits = tuple[Path, tuple[AuditRecord, ...]]
Reduce = Callable[[Submission], tuple[bytes, ...]]
"""What is kept of a system in the place of its results: a module-level function, which depends on the system alone."""
README_FILE = "README.md"
MAX_SYSTEM_BYTES = 100_000
MAX_RUNS = 1000
"""Of one system. Both suites have 56 of trained arms for each seed."""
MAX_RECORDS_BYTES = 25_000_000
"""Of the results and training records of a system, all of which are held at once, in four times the memory."""
_MOST_SPOILED = 10
"""Runs with problems of one system, each of which can take a second; those after them are only counted."""
_ROOT, _SYSTEM, _RUN = range(3)  # what a folder is, from above
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check(
    paths: Iterable[Path],
    *,
    jobs: int = 1,
    kept: KeptScores | None = None,
    summarized: bool = False,
    report: CountReport = no_report,
) -> Checked:
    """Check folders: of submissions, of a system or of a run.

    A folder called `submissions` is one of submissions, whatever it holds. One that is named twice, or lies in another
    that is named, is checked once.

    Args:
        paths: The folders.
        jobs: Processes that check the systems of a folder of submissions. What is found does not depend on it.
        kept: What was found in runs before, and need not be found again.
        summarized: Whether of each system only a summary is held, and not all of its results.
        report: Takes how many runs are checked, and of how many.

    Raises:
        LgbenchError: One of these processes ended before its work was done.
    """
    ordered = sorted(paths, key=_level)  # a run is checked with its system, and a system with its folder
    checker = _Checker(jobs, kept, summarized=summarized, on_run=_counting(ordered, report))
    for path in ordered:
        checker.check(path)
    checker.compare_systems()
    checker.take_audits()
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
    checker = _Checker(jobs, kept, on_run=_counting([folder], report))
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
    checker = _Checker(jobs, kept, reduce, on_run=_counting([folder], report))
    return tuple(_read(folder, checker).reduced.values())


def _read(folder: Path, checker: _Checker) -> _Checker:
    """Check a folder of submissions that must be without problems."""
    if any((folder / name).exists() for name in (SYSTEM_FILE, RESULT_FILE)):
        raise LgbenchError(f"{str(folder)!r} is a system or a run. Name the folder of all systems.")
    checker.check(folder)
    checker.compare_systems()
    checker.take_audits()
    if problems := checker.report.problems:
        raise LgbenchError("\n".join(map(str, problems)))
    return checker


def _name(folder: Path) -> str:
    """What a folder is called, be it named as `.` or `..`; links are not followed."""
    return Path(os.path.normpath(folder.absolute())).name


def _place(folder: Path) -> str:
    """Where a folder lies, whatever path leads there. A link, which is not followed, lies where it is."""
    return str(folder.absolute()) if folder.is_symlink() else os.path.realpath(folder)


def _level(path: Path) -> int:
    """Whether a folder is of submissions, of a system or of a run, as what it holds or is called says."""
    if _name(path) == SUBMISSIONS_FOLDER:
        return _ROOT
    if (path / RESULT_FILE).exists():
        return _RUN
    return _SYSTEM if (path / SYSTEM_FILE).exists() or any(path.glob(f"*/{RESULT_FILE}")) else _ROOT


def _counting(paths: Iterable[Path], report: CountReport) -> Callable[[], None]:
    """What is to be called for each run of these folders that is checked."""
    total, done = sum(map(_count_runs, paths)), itertools.count(1)
    report(0, total)
    return lambda: report(next(done), total)


def _count_runs(path: Path) -> int:
    """How many folders below one are checked as runs, unless something is wrong with those above them."""
    below = [path]
    for _ in range(_RUN - _level(path)):
        below = [folder for each in below for folder in _folders(each)]
    return len(below)


def _folders(folder: Path) -> list[Path]:
    """The folders in one, which is not followed if it is a link."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # told when it is checked
        return []
    return [] if folder.is_symlink() else found


class _Checker:
    """Walks a tree from above and never leaves it, gathering what is good and what is not.

    Args:
        jobs: Processes that check systems.
        kept: What was found before.
        reduce: What is left of a system instead of all of it.
        summarized: Whether only a summary of a system is left.
        on_run: Called when a run is checked.
    """

    def __init__(
        self,
        jobs: int = 1,
        kept: KeptScores | None = None,
        reduce: Reduce | None = None,
        *,
        summarized: bool = False,
        on_run: Callable[[], None] = count_one,
    ) -> None:
        self.jobs = jobs
        self.kept = kept
        self.reduce = reduce
        self.summarized = summarized
        self._on_run = on_run
        self.report = Report()
        self.runs = 0
        # By their folders: two folders of submissions may hold systems of one name.
        self.systems: dict[str, dict[str, Compared]] = {}
        self.submissions: dict[str, Submission] = {}
        self.summaries: dict[str, SystemSummary] = {}
        self.reduced: dict[str, tuple[bytes, ...]] = {}
        self.same_recipe_as: dict[str, str] = {}
        self._whole: set[str] = set()  # folders of submissions that were checked with every system in them
        self._checked: set[tuple[int, str]] = set()
        self._read_audits: dict[Path, Mapping[str, tuple[AuditRecord, ...]]] = {}

    def check(self, path: Path) -> None:
        """Check a folder of submissions, of a system or of a run, unless that was done."""
        level = _level(path)
        if (level, _place(path)) not in self._checked:
            (self._root, self._system, self._run)[level](path)

    def compare_systems(self) -> None:
        """Drop the systems that hold a copy of a run, each copy with one problem. To be called when all are checked."""
        found = (*copies(self.systems), *wrong_recipes(self.systems, self.same_recipe_as, self._whole))
        for path, system, problem in found:
            self.report.add_all(path, [problem])
            self.submissions.pop(system, None)
            self.summaries.pop(system, None)

    def alarms(self) -> tuple[FileProblem, ...]:
        """What reviewers should look at. To be called when all are checked."""
        found = Report()
        for path, _, problem in alike(self.systems):
            found.add_all(path, [problem])
        signs = {folder: alarms(submission) for folder, submission in self.submissions.items()}
        signs |= {folder: iter(summary.alarms) for folder, summary in self.summaries.items()}
        for folder, of_system in signs.items():
            for run, message in of_system:
                found.add(Path(folder, run, RESULT_FILE), "cells", message)
        return found.problems

    def _root(self, folder: Path) -> None:
        self._checked.add((_ROOT, _place(folder)))
        self._whole.add(str(folder))
        needs_audits = _name(folder) == SUBMISSIONS_FOLDER or self.reduce or self.summarized
        audits = self._audits(folder) if needs_audits else {}
        before = self.report.count
        entries = self._entries(folder)
        if not entries and self.report.count == before and _name(folder) != SUBMISSIONS_FOLDER:
            self.report.add(folder, "", "holds no run, no system and no folder of systems.")
        own = [entry for entry in entries if entry.name != LOCK_FILE and not is_unfinished(entry.name)]
        systems = [folder / each.name for each in own if each.is_dir(follow_symlinks=False)]
        check_one = partial(_check_alone, kept=self.kept, reduce=self.reduce, summarized=self.summarized)
        each_with_audits = [(system, audits.get(system.name, ())) for system in systems]
        checked = _checked_ahead(check_one, each_with_audits, self.jobs, self._on_run)
        for entry in entries:
            is_folder = entry.is_dir(follow_symlinks=False)
            if entry.name == LOCK_FILE or is_unfinished(entry.name):
                if is_folder == (entry.name == LOCK_FILE) or not is_owned(folder):
                    message = "is left over from an interrupted `lgbench submit`: remove it."
                    self.report.add(folder / entry.name, "", message)
            elif is_folder:
                self._take(next(checked))
            elif entry.name != README_FILE or not entry.is_file(follow_symlinks=False):
                self._unexpected(folder / entry.name, f"one folder for each system, and {README_FILE}")

    def _take(self, other: _Checker) -> None:
        """Take in what another found in one system."""
        self.report.merge(other.report)
        self.runs += other.runs
        self.systems |= other.systems
        self.submissions |= other.submissions
        self.summaries |= other.summaries
        self.reduced |= other.reduced
        self.same_recipe_as |= other.same_recipe_as
        self._checked |= other._checked

    def _system(self, folder: Path, audits: tuple[AuditRecord, ...] | None = None) -> None:
        self._checked.add((_SYSTEM, _place(folder)))
        before = self.report.count
        name = _name(folder)
        try:
            check_system_name(name)
        except ValueError as error:
            self.report.add(folder, "", f"is not a name for a system: {error}.")
        entries = self._entries(folder)
        folders = [folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        for entry in entries:
            if entry.name not in OF_A_SYSTEM and not entry.is_dir(follow_symlinks=False):
                self._unexpected(folder / entry.name, f"{', '.join(OF_A_SYSTEM)} and one folder for each run")
        for twin, other in twins([*OF_A_SYSTEM, *(run.name for run in folders)]):
            self.report.add(folder / twin, "", f"differs from {other!r} only in upper and lower case: rename one.")
        runs = self._runs(folder, folders)
        system = self._record(folder / SYSTEM_FILE, SystemRecord, MAX_SYSTEM_BYTES)
        declaration = None
        if any(entry.name == DECLARATION_FILE for entry in entries):
            declaration = self._record(folder / DECLARATION_FILE, Declaration, MAX_DECLARATION_BYTES)
        if system and system.name != name:
            self.report.add(folder / SYSTEM_FILE, "name", f"is {system.name!r}, but the folder is called {name!r}.")
        if not folders:
            self.report.add(folder, "", "has no run: a system needs at least one.")
        self.systems[str(folder)] = {
            run.folder: Compared(
                trace(run.result, recipe_digest(run.training.plan) if run.training else None),
                None if self.reduce else run.wrong,
                run.is_repeated,
            )
            for run in runs
        }
        if declaration and declaration.same_recipe_as:
            self.same_recipe_as[str(folder)] = declaration.same_recipe_as
        if system and self.report.count == before:
            submission = Submission(system=system, runs=tuple(runs), declaration=declaration)
            if self.summarized:
                known = self._audits(folder.absolute().parent).get(name, ()) if audits is None else audits
                self.summaries[str(folder)] = summarize(replace(submission, audits=known))
            else:
                self.submissions[str(folder)] = submission

    def reduce_system(self, folder: Path, audits: tuple[AuditRecord, ...]) -> None:
        """Check a system, unless that was done before, and hold no more of it than what it is reduced to."""
        assert self.reduce is not None
        purpose = f"{self.reduce.__module__}.{self.reduce.__qualname__}"
        key = self.kept.system_key(folder, audits, purpose) if self.kept else None
        place = str(folder)
        if self.kept and key and (found := self.kept.get_system(key)) is not None:
            self._checked.add((_SYSTEM, _place(folder)))
            self.runs += len(found.runs)
            for _ in found.runs:
                self._on_run()
            self.systems[place] = {name: Compared(left) for name, left in found.runs.items()}
            self.reduced[place] = found.part
            if found.same_recipe_as:
                self.same_recipe_as[place] = found.same_recipe_as
            return
        self._system(folder)
        if (submission := self.submissions.pop(place, None)) is None:
            return
        self.reduced[place] = self.reduce(replace(submission, audits=audits))
        if self.kept and key:
            runs = {name: run.trace for name, run in self.systems[place].items()}
            self.kept.put_system(key, FoundSystem(runs, self.reduced[place], self.same_recipe_as.get(place)))

    def take_audits(self) -> None:
        """Give each system what maintainers found of it. To be called when all are checked."""
        for folder, submission in self.submissions.items():
            found = self._audits(Path(folder).absolute().parent).get(submission.system.name, ())
            self.submissions[folder] = replace(submission, audits=found)

    def _audits(self, submissions: Path) -> Mapping[str, tuple[AuditRecord, ...]]:
        """The audits that lie beside a folder of submissions."""
        folder = audits_beside(submissions)
        if folder not in self._read_audits:
            self._read_audits[folder] = read_audits(folder, self.report)
        return self._read_audits[folder]

    def _runs(self, system: Path, folders: Sequence[Path]) -> list[SubmittedRun]:
        """Check the runs of a system, up to the tenth that has problems."""
        if len(folders) > MAX_RUNS:
            self.report.add(system, "", f"has {len(folders):,} runs. At most {MAX_RUNS:,} are allowed.")
        sizes_of_files = (_size(run / name) for run in folders for name in (RESULT_FILE, RECORD))
        size = sum(each for each in sizes_of_files if each <= MAX_RECORD_BYTES)  # a larger one is not read
        if size > MAX_RECORDS_BYTES:
            sizes = f"{size:,} bytes of results and training records; at most {MAX_RECORDS_BYTES:,} are allowed"
            self.report.add(system, "", f"has {sizes}. No run was checked.")
            return []
        runs, spoiled, repeats = [], 0, Repeats()
        for number, folder in enumerate(folders[:MAX_RUNS]):
            if spoiled == _MOST_SPOILED:
                left = len(folders) - number
                message = f"has {left:,} more runs, not checked, as {spoiled} before them have problems."
                self.report.add(system, "", message)
                break
            before = self.report.count
            if run := self._run(folder, repeats):
                runs.append(run)
            spoiled += self.report.count > before
        return runs

    def _run(self, folder: Path, repeats: Repeats | None = None) -> SubmittedRun | None:
        """Check a run. It is given back, for comparison with others, as soon as its result can be read."""
        self._checked.add((_RUN, _place(folder)))
        self.runs += 1
        name = _name(folder)
        if not _RUN_NAME.fullmatch(name):
            message = "is not a name for a run: use letters, digits, dots, hyphens and underscores."
            self.report.add(folder, "", message)
        else:
            try:
                check_portable(name)
            except ValueError as error:
                self.report.add(folder, "", f"is not a name for a run: {error}.")
        for entry in self._entries(folder):
            if entry.name not in OF_A_RUN:
                self._unexpected(folder / entry.name, f"{', '.join(OF_A_RUN[:-1])} and {OF_A_RUN[-1]}")
        found = check_files(folder, self.report, repeats or Repeats(), self.kept)
        self._on_run()
        return found

    def _record(self, path: Path, kind: type[_Record], most: int) -> _Record | None:
        try:
            return read_record(path, kind, max_bytes=most)
        except InvalidFileError as error:
            self.report.add_error(error)
            return None

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What a folder holds, by name. A link to a folder is none."""
        try:
            if folder.is_symlink():
                self.report.add(folder, "", "is a link. Links are not followed: put the folder itself here.")
                return []
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.report.add(folder, "", f"cannot be read as a folder: {error.strerror or error}.")
            return []

    def _unexpected(self, path: Path, expected: str) -> None:
        what = "is a link" if path.is_symlink() else "does not belong here"
        self.report.add(path, "", f"{what}. This folder holds {expected}, and nothing else.")


def _size(path: Path) -> int:
    """The size of a file; 0 where there is none."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _checked_ahead(
    check_one: Callable[..., _Checker], systems: Sequence[_WithAudits], jobs: int, on_run: Callable[[], None]
) -> Iterator[_Checker]:
    """What is found in each of these systems, in their order, by as many processes.

    Raises:
        LgbenchError: One of them ended before its work was done.
    """
    if jobs == 1 or len(systems) < 2:
        yield from (check_one(each, on_run=on_run) for each in systems)
        return
    try:
        yield from CountingPool(min(jobs, len(systems)), on_run).map(check_one, systems)
    except BrokenProcessPool:
        raise LgbenchError(
            "A process that checks systems ended early. If there is no message above, it was probably killed for lack "
            "of memory: try --jobs 1."
        ) from None


def _check_alone(
    system: _WithAudits,
    *,
    kept: KeptScores | None,
    reduce: Reduce | None,
    summarized: bool,
    on_run: Callable[[], None] = count_one,
) -> _Checker:
    folder, audits = system
    checker = _Checker(kept=kept, reduce=reduce, summarized=summarized, on_run=on_run)
    if reduce is None:
        checker._system(folder, audits)
    else:
        checker.reduce_system(folder, audits)
    return checker
