"""Everything that can be wrong with a submission, told at once, each problem with its file and field.

A folder of submissions holds one folder for each system (and may hold a README.md); a system's folder holds
`system.json` and one folder for each run; a run's folder holds `result.json` and `replies.jsonl.gz`. Nothing else, but
for what `lgbench submit` holds among the systems while it works, which is passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from lgbench.errors import LgbenchError
from lgbench.files import LOCK_FILE, is_unfinished
from lgbench.records import MAX_RECORD_BYTES, InvalidFileError, Problem, read_record
from lgbench.replies import Reply
from lgbench.rescoring import check_cells, check_result
from lgbench.results import Result
from lgbench.running.folder import REPLIES_FILE, RESULT_FILE
from lgbench.running.replies import Caps, read_stored_replies
from lgbench.submissions.checked import Checked, FileProblem, Submission, SubmittedRun
from lgbench.submissions.eligibility import copied, digest_of_main, ineligible, repeated
from lgbench.submissions.system import SUBMISSIONS_FOLDER, SYSTEM_FILE, SystemRecord, check_system_name
from lgbench.suites import Cell

README_FILE = "README.md"
MAX_SYSTEM_BYTES = 100_000
SUBMITTED_CAPS = Caps(8_000_000, 64_000_000)
_Record = TypeVar("_Record", bound=BaseModel)
_ROOT, _SYSTEM, _RUN = range(3)  # what a folder is, from above
_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def check(paths: Iterable[Path]) -> Checked:
    """Check folders: of submissions, of a system or of a run.

    A folder called `submissions` is one of submissions, whatever it holds. One that is named twice, or lies in another
    that is named, is checked once.
    """
    checker = _Checker()
    for path in sorted(paths, key=_level):  # a run is checked with its system, and a system with its folder
        checker.check(path)
    checker.compare_systems()
    submissions = tuple(checker.submissions.values())
    return Checked(submissions, len(checker.systems), checker.runs, tuple(checker.problems))


def read_submissions(folder: Path) -> tuple[Submission, ...]:
    """Every system in a folder of submissions, by name, with every count re-scored.

    Raises:
        LgbenchError: Something is wrong with one of them, with all problems; or the folder is a system or a run itself.
    """
    if any((folder / name).exists() for name in (SYSTEM_FILE, RESULT_FILE)):
        raise LgbenchError(f"{str(folder)!r} is a system or a run. Name the folder of all systems.")
    checked = check([folder])
    if checked.problems:
        raise LgbenchError("\n".join(map(str, checked.problems)))
    return checked.submissions


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


class _Checker:
    """Walks a tree from above and never leaves it, gathering what is good and what is not."""

    def __init__(self) -> None:
        self.problems: list[FileProblem] = []
        self.runs = 0
        # By their folders: two folders of submissions may hold systems of one name.
        self.systems: dict[str, dict[str, Result]] = {}
        self.submissions: dict[str, Submission] = {}
        self._checked: set[tuple[int, str]] = set()

    def check(self, path: Path) -> None:
        """Check a folder of submissions, of a system or of a run, unless that was done."""
        level = _level(path)
        if (level, _place(path)) not in self._checked:
            (self._root, self._system, self._run)[level](path)

    def compare_systems(self) -> None:
        """Drop the systems that hold a copy of another's run. To be called when all are checked."""
        for system, run, problem in copied(self.systems):
            self.problems.append(FileProblem(Path(system, run, RESULT_FILE), problem))
            self.submissions.pop(system, None)

    def _root(self, folder: Path) -> None:
        self._checked.add((_ROOT, _place(folder)))
        before = len(self.problems)
        entries = self._entries(folder)
        if not entries and len(self.problems) == before and _name(folder) != SUBMISSIONS_FOLDER:
            self._add(folder, "", "holds no run, no system and no folder of systems.")
        for entry in entries:
            if entry.name == LOCK_FILE or is_unfinished(entry.name):  # a `submit` that runs, or was killed
                continue
            if entry.is_dir(follow_symlinks=False):
                self._system(folder / entry.name)
            elif entry.name == README_FILE and entry.is_file(follow_symlinks=False):
                continue
            else:
                self._unexpected(folder / entry.name, f"one folder for each system, and {README_FILE}")

    def _system(self, folder: Path) -> None:
        self._checked.add((_SYSTEM, _place(folder)))
        before = len(self.problems)
        name = _name(folder)
        try:
            check_system_name(name)
        except ValueError as error:
            self._add(folder, "", f"is not a name for a system: {error}.")
        runs = []
        for entry in self._entries(folder):
            if entry.is_dir(follow_symlinks=False):
                runs.append(self._run(folder / entry.name))
            elif entry.name != SYSTEM_FILE:
                self._unexpected(folder / entry.name, f"{SYSTEM_FILE} and one folder for each run")
        system = self._record(folder / SYSTEM_FILE, SystemRecord, MAX_SYSTEM_BYTES)
        if system and system.name != name:
            self._add(folder / SYSTEM_FILE, "name", f"is {system.name!r}, but the folder is called {name!r}.")
        if not runs:
            self._add(folder, "", "has no run: a system needs at least one.")
        results = {run.folder: run.result for run in runs if run}
        self.systems[str(folder)] = results
        for run, problem in repeated(results, {run.folder: run.of_main for run in runs if run}):
            self.problems.append(FileProblem(folder / run / RESULT_FILE, problem))
        if system and len(self.problems) == before:
            self.submissions[str(folder)] = Submission(system=system, runs=tuple(run for run in runs if run))

    def _run(self, folder: Path) -> SubmittedRun | None:
        """Check a run. It is given back, for comparison with others, as soon as its result can be read."""
        self._checked.add((_RUN, _place(folder)))
        self.runs += 1
        if not _RUN_NAME.fullmatch(_name(folder)):
            self._add(folder, "", "is not a name for a run: use letters, digits, dots, hyphens and underscores.")
        for entry in self._entries(folder):
            if entry.name not in (RESULT_FILE, REPLIES_FILE):
                self._unexpected(folder / entry.name, f"{RESULT_FILE} and {REPLIES_FILE}")
        result = self._record(folder / RESULT_FILE, Result, MAX_RECORD_BYTES)
        replies = self._replies(folder / REPLIES_FILE)
        if result is None:
            return None
        problems = list(ineligible(result))
        correct: Mapping[Cell, NDArray[np.bool_]] = {}
        if result.draft is not None:
            pass  # there is nothing to check it against, and it is refused
        elif replies is None:
            problems += check_cells(result)
        else:
            (_, correct), found = check_result(result, replies)
            problems += found
        for field, message in problems:
            if field == "replies":
                self._add(folder / REPLIES_FILE, "", message)
            else:
                self._add(folder / RESULT_FILE, field, message)
        of_main = digest_of_main(result, replies) if replies and not problems else None
        return SubmittedRun(folder.name, result, correct, of_main)

    def _record(self, path: Path, kind: type[_Record], max_bytes: int) -> _Record | None:
        try:
            return read_record(path, kind, max_bytes=max_bytes)
        except InvalidFileError as error:
            self._add_all(error)
            return None

    def _replies(self, path: Path) -> dict[str, Reply] | None:
        try:
            return read_stored_replies(path, SUBMITTED_CAPS)
        except InvalidFileError as error:
            self._add_all(error)
            return None

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """What a folder holds, by name. A link to a folder is none."""
        try:
            if folder.is_symlink():
                self._add(folder, "", "is a link. Links are not followed: put the folder itself here.")
                return []
            with os.scandir(folder) as entries:
                return sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self._add(folder, "", f"cannot be read as a folder: {error.strerror or error}.")
            return []

    def _unexpected(self, path: Path, expected: str) -> None:
        what = "is a link" if path.is_symlink() else "does not belong here"
        self._add(path, "", f"{what}. This folder holds {expected}, and nothing else.")

    def _add(self, path: Path, field: str, message: str) -> None:
        self.problems.append(FileProblem(path, Problem(field, message)))

    def _add_all(self, error: InvalidFileError) -> None:
        self.problems += [FileProblem(error.path, problem) for problem in error.problems]
