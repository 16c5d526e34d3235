"""Which files a pull request with results may change: it adds files to one system's folder, and nothing else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from lgbench.evaluation.stored import SYSTEM_FILE
from lgbench.submissions.audits import AUDITS_FOLDER
from lgbench.submissions.checked import FileProblem
from lgbench.submissions.system import SUBMISSIONS_FOLDER
from lgbench.util.records import MAX_PROBLEMS, Problem
from lgbench.util.text import plain

LEADERBOARD_FOLDER = "leaderboard"
ABSENT, PLAIN_FILE = "000000", "100644"
_GUARDED = frozenset({SUBMISSIONS_FOLDER, LEADERBOARD_FOLDER, AUDITS_FOLDER})
_KINDS = {"100755": "is executable", "120000": "is a link", "160000": "is a repository of its own (a submodule)"}


class Change(NamedTuple):
    """A path whose content or mode differs between the base and the head.

    Attributes:
        path: From the root of the repository, with slashes.
        before: Its mode in the base, in git's six digits; `ABSENT` if it is new.
        after: Its mode in the head; `ABSENT` if it is gone.
    """

    path: str
    before: str
    after: str


def check_changes(changes: Sequence[Change], *, by_maintainer: bool = False) -> list[FileProblem]:
    """What a pull request changes that a submission may not change.

    One that touches neither submissions nor what is derived from them is not a submission, and may change any file.
    The content of `leaderboard/` is not judged here: `lgbench leaderboard build --check` derives every byte of it.

    Args:
        changes: All differences between the base and the head.
        by_maintainer: Whether a maintainer allows the changes. Then only links, submodules and executable files are
            refused: a checkout without links shows them as plain files, so no later check would notice them.

    Returns:
        The problems, at most a hundred, and then how many more there are.
    """
    guarded = [change for change in changes if _folder(change).casefold() in _GUARDED]
    problems = [FileProblem(Path(path), Problem("", message)) for path, message in _wrong_modes(guarded)]
    if guarded and not by_maintainer:
        problems += [FileProblem(Path(path), Problem("", message)) for path, message in _forbidden(changes)]
    if (more := len(problems) - MAX_PROBLEMS) > 0:
        problems[MAX_PROBLEMS:] = [FileProblem(Path(), Problem("", f"and {more:,} more problems of these kinds."))]
    return problems


def describe(changes: Sequence[Change]) -> str:
    """One line on what a pull request adds to which systems. An existing system may belong to someone else."""
    new = {system for change in changes if (system := _system(change)) and _is_record(change) and _is_added(change)}
    added = Counter(system for change in changes if (system := _system(change)) and _is_added(change))
    parts = [
        f"{count:,} added to {SUBMISSIONS_FOLDER}/{plain(system, limit=100)} "
        f"({'a new system' if system in new else 'a system that exists already'})"
        for system, count in list(added.items())[:3]
    ]
    more = [f"and {len(added) - 3:,} more systems"] if len(added) > 3 else []
    return ", ".join([f"{len(changes):,} {'file differs' if len(changes) == 1 else 'files differ'}", *parts, *more])


def _folder(change: Change) -> str:
    return change.path.partition("/")[0]


def _system(change: Change) -> str | None:
    """The name of the system in whose folder a path is."""
    folder, *inside = change.path.split("/")
    return inside[0] if folder == SUBMISSIONS_FOLDER and len(inside) > 1 else None


def _is_record(change: Change) -> bool:
    return change.path.count("/") == 2 and change.path.endswith(f"/{SYSTEM_FILE}")


def _is_added(change: Change) -> bool:
    return change.before == ABSENT


def _wrong_modes(guarded: Sequence[Change]) -> Iterator[tuple[str, str]]:
    for path, _, after in guarded:
        if after not in (ABSENT, PLAIN_FILE):
            yield (
                path,
                f"{_KINDS.get(after, f'has the mode {after}')}. Only plain files (mode {PLAIN_FILE}) belong here.",
            )


def _forbidden(changes: Sequence[Change]) -> Iterator[tuple[str, str]]:
    systems: dict[str, None] = {}  # in the order of the paths
    for change in changes:
        folder, system = _folder(change), _system(change)
        if folder == LEADERBOARD_FOLDER and change.path != folder:
            continue
        if folder != SUBMISSIONS_FOLDER:
            yield change.path, f"is outside {SUBMISSIONS_FOLDER}/ and {LEADERBOARD_FOLDER}/."
        elif change.after == ABSENT:
            yield change.path, "is deleted or renamed."
        elif not _is_added(change):
            yield change.path, "is changed. It was submitted earlier, or belongs to a maintainer."
        elif system is None:
            yield change.path, f"is in no system's folder ({SUBMISSIONS_FOLDER}/NAME/)."
        if system is not None:
            systems[system] = None
    if len(systems) > 1:
        named = ", ".join(plain(system, limit=60) for system in list(systems)[:5])
        more = f" and {len(systems) - 5:,} more" if len(systems) > 5 else ""
        yield SUBMISSIONS_FOLDER, f"has changes to several systems: {named}{more}. Open a pull request for each."
    if not any(_folder(change) == SUBMISSIONS_FOLDER for change in changes):
        for change in changes:
            if _folder(change) == LEADERBOARD_FOLDER:
                yield change.path, "is changed, although no submission is."
