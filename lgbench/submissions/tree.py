"""The walk over a tree of submissions that collects its systems and their problems."""

from __future__ import annotations

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
from lgbench.submissions.checked import FileProblem, Submission, SubmittedRun
from lgbench.submissions.comparing import Compared, alike, copies, wrong_recipes
from lgbench.submissions.copies import Repeats, trace
from lgbench.submissions.declaration import DECLARATION_FILE, MAX_DECLARATION_BYTES, Declaration
from lgbench.submissions.forensics import alarms
from lgbench.submissions.kept import OF_A_RUN, OF_A_SYSTEM, FoundSystem, KeptScores
from lgbench.submissions.levels import Level, level_of, name_of, place_of, size_of
from lgbench.submissions.names import check_portable, twins
from lgbench.submissions.problems import Report
from lgbench.submissions.recorded import recipe_digest
from lgbench.submissions.runs import check_files
from lgbench.submissions.summary import SystemSummary, summarize
from lgbench.submissions.system import MAX_SYSTEM_BYTES, SUBMISSIONS_FOLDER, SystemRecord, check_system_name
from lgbench.training.record import RECORD
from lgbench.util.errors import LgbenchError
from lgbench.util.files import LOCK_FILE, is_owned, is_unfinished
from lgbench.util.processes import CountingPool, count_one
from lgbench.util.records import MAX_RECORD_BYTES, InvalidFileError, read_record
from lgbench.util.text import plain

_Record = TypeVar("_Record", bound=BaseModel)
_WithAudits = tuple[Path, tuple[AuditRecord, ...]]
Reduce = Callable[[Submission], tuple[bytes, ...]]
"""Reduces a system to what is kept instead of its results. A module-level function of the system alone."""
README_FILE = "README.md"
MAX_RUNS = 1000
"""The most runs of one system. Both suites have 56 runs of trained arms for each seed."""
MAX_RECORDS_BYTES = 25_000_000
"""The size of all results and training records of a system. All are in memory together, and take four times that."""
_MOST_SPOILED = 10
"""The most runs with problems that are checked in one system, as each can take a second. Later runs are counted."""
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class TreeChecker:
    """Walks a tree of submissions from the top, without leaving it, and collects its systems and problems.

    Args:
        jobs: Number of processes that check systems.
        kept: Kept scores of earlier checks.
        reduce: Reduces a system; None to keep all of it.
        summarized: Whether to keep only a summary of each system.
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

    def check(self, paths: Iterable[Path]) -> None:
        """Check folders of submissions, of a system or of a run, each once, and compare their systems."""
        for path in paths:
            level = level_of(path)
            if (level, place_of(path)) not in self._checked:
                (self._check_root, self._check_system, self._check_run)[level](path)
        self._compare_systems()
        self._take_audits()

    def alarms(self) -> tuple[FileProblem, ...]:
        """What reviewers should look at in what was checked."""
        found = Report()
        for path, _, problem in alike(self.systems):
            found.add_all(path, [problem])
        signs = {folder: alarms(submission) for folder, submission in self.submissions.items()}
        signs |= {folder: iter(summary.alarms) for folder, summary in self.summaries.items()}
        for folder, of_system in signs.items():
            for run, message in of_system:
                found.add(Path(folder, run, RESULT_FILE), "cells", message)
        return found.problems

    def _compare_systems(self) -> None:
        """Drop the systems that hold a copy of a run, each copy with one problem."""
        found = (*copies(self.systems), *wrong_recipes(self.systems, self.same_recipe_as, self._whole))
        for path, system, problem in found:
            self.report.add_all(path, [problem])
            self.submissions.pop(system, None)
            self.summaries.pop(system, None)

    def _check_root(self, folder: Path) -> None:
        self._checked.add((Level.ROOT, place_of(folder)))
        self._whole.add(str(folder))
        needs_audits = name_of(folder) == SUBMISSIONS_FOLDER or self.reduce or self.summarized
        audits = self._audits(folder) if needs_audits else {}
        before = self.report.count
        entries = self._entries(folder)
        if not entries and self.report.count == before and name_of(folder) != SUBMISSIONS_FOLDER:
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
                self._merge(next(checked))
            elif entry.name != README_FILE or not entry.is_file(follow_symlinks=False):
                self._unexpected(folder / entry.name, f"one folder for each system, and {README_FILE}")

    def _merge(self, other: TreeChecker) -> None:
        """Add what another checker found in one system."""
        self.report.merge(other.report)
        self.runs += other.runs
        self.systems |= other.systems
        self.submissions |= other.submissions
        self.summaries |= other.summaries
        self.reduced |= other.reduced
        self.same_recipe_as |= other.same_recipe_as
        self._checked |= other._checked

    def _check_system(self, folder: Path, audits: tuple[AuditRecord, ...] | None = None) -> None:
        self._checked.add((Level.SYSTEM, place_of(folder)))
        before = self.report.count
        name = name_of(folder)
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
        runs = self._check_runs(folder, folders)
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
        """Check a system unless it is kept from before, and keep only what it is reduced to."""
        assert self.reduce is not None
        purpose = f"{self.reduce.__module__}.{self.reduce.__qualname__}"
        key = self.kept.system_key(folder, audits, purpose) if self.kept else None
        place = str(folder)
        if self.kept and key and (found := self.kept.get_system(key)) is not None:
            self._checked.add((Level.SYSTEM, place_of(folder)))
            self.runs += len(found.runs)
            for _ in found.runs:
                self._on_run()
            self.systems[place] = {name: Compared(left) for name, left in found.runs.items()}
            self.reduced[place] = found.part
            if found.same_recipe_as:
                self.same_recipe_as[place] = found.same_recipe_as
            return
        self._check_system(folder)
        if (submission := self.submissions.pop(place, None)) is None:
            return
        self.reduced[place] = self.reduce(replace(submission, audits=audits))
        if self.kept and key:
            runs = {name: run.trace for name, run in self.systems[place].items()}
            self.kept.put_system(key, FoundSystem(runs, self.reduced[place], self.same_recipe_as.get(place)))

    def _take_audits(self) -> None:
        """Add to each system what its audits found."""
        for folder, submission in self.submissions.items():
            found = self._audits(Path(folder).absolute().parent).get(submission.system.name, ())
            self.submissions[folder] = replace(submission, audits=found)

    def _audits(self, submissions: Path) -> Mapping[str, tuple[AuditRecord, ...]]:
        """The audits beside a folder of submissions."""
        folder = audits_beside(submissions)
        if folder not in self._read_audits:
            self._read_audits[folder] = read_audits(folder, self.report)
        return self._read_audits[folder]

    def _check_runs(self, system: Path, folders: Sequence[Path]) -> list[SubmittedRun]:
        """Check the runs of a system, up to the tenth that has problems."""
        if len(folders) > MAX_RUNS:
            self.report.add(system, "", f"has {len(folders):,} runs. At most {MAX_RUNS:,} are allowed.")
        sizes_of_files = (size_of(run / name) for run in folders for name in (RESULT_FILE, RECORD))
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
            if run := self._check_run(folder, repeats):
                runs.append(run)
            spoiled += self.report.count > before
        return runs

    def _check_run(self, folder: Path, repeats: Repeats | None = None) -> SubmittedRun | None:
        """Check a run. Returns it, for comparison with other runs, if its result can be read."""
        self._checked.add((Level.RUN, place_of(folder)))
        self.runs += 1
        name = name_of(folder)
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
        found = None
        try:
            found = check_files(folder, self.report, repeats or Repeats(), self.kept)
        except Exception as error:  # noqa: BLE001  # no file of a stranger's may hide what others did
            reason = plain(f"{type(error).__name__}: {error}", limit=200)
            self.report.add(folder, "", f"cannot be checked ({reason}). That is a fault of lgbench: please report it.")
        self._on_run()
        return found

    def _record(self, path: Path, kind: type[_Record], most: int) -> _Record | None:
        try:
            return read_record(path, kind, max_bytes=most)
        except InvalidFileError as error:
            self.report.add_error(error)
            return None

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """The entries of a folder, by name. A link to a folder is no folder."""
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


def _checked_ahead(
    check_one: Callable[..., TreeChecker], systems: Sequence[_WithAudits], jobs: int, on_run: Callable[[], None]
) -> Iterator[TreeChecker]:
    """Check these systems with several processes, and yield a checker for each, in order.

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
) -> TreeChecker:
    folder, audits = system
    checker = TreeChecker(kept=kept, reduce=reduce, summarized=summarized, on_run=on_run)
    if reduce is None:
        checker._check_system(folder, audits)
    else:
        checker.reduce_system(folder, audits)
    return checker
