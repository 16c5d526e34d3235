"""What a branch changes, read from git's own trees: nothing is checked out, and no file of the branch is followed."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple

from lgbench.submissions.changes import Change
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

MAX_CHANGES = 20_000
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
# Every path once, with modes: no guesses at renames, which could pair a deleted file with an added one, and no
# submodule left out because a `.gitmodules` in the tree says so.
_DIFF = ("diff-tree", "-r", "-z", "--raw", "--no-renames", "--ignore-submodules=none")


class Comparison(NamedTuple):
    """Two commits and what differs between them.

    Attributes:
        base: The commit where the branch left the base.
        head: The commit that is checked out.
        changes: Every path that differs.
    """

    base: str
    head: str
    changes: list[Change]


def compare_with(base: str, folder: Path) -> Comparison:
    """What the commits since `base` change in all, in the repository that a folder belongs to.

    Args:
        base: A commit or a branch. What was added to it after the branch left it does not count as a change.
        folder: A folder of the repository.

    Raises:
        LgbenchError: There is no git, no repository or no such commit, or more than `MAX_CHANGES` paths differ.
    """
    head = _commit("HEAD", folder)
    fork = _git(folder, "merge-base", _commit(base, folder), head).decode().strip()
    if not _COMMIT.fullmatch(fork):
        raise LgbenchError(f"{base!r} and HEAD have no common history here. Fetch more of it: git fetch --unshallow.")
    with subprocess.Popen(["git", *_DIFF, fork, head], cwd=folder, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        changes = list(islice(_changes(process.stdout), MAX_CHANGES + 1))
        if len(changes) > MAX_CHANGES:
            process.kill()
            raise LgbenchError(f"More than {MAX_CHANGES:,} files differ from {base!r}. Split the changes.")
    if process.returncode != 0:
        raise LgbenchError(f"git could not compare {base!r} with HEAD.")
    return Comparison(fork, head, changes)


def _commit(name: str, folder: Path) -> str:
    found = _git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()
    if not _COMMIT.fullmatch(found):
        raise LgbenchError(
            f"{plain(name)!r} is not a commit of a git repository here. Run this in a clone, and name a branch or "
            "commit that was fetched, such as origin/main."
        )
    return found


def _git(folder: Path, *arguments: str) -> bytes:
    """What git prints; nothing where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:
        raise LgbenchError("There is no git on this machine, which a comparison with a base needs.") from None
    return done.stdout if done.returncode == 0 else b""


def _changes(stream: IO[bytes]) -> Iterator[Change]:
    """The records `:MODE MODE HASH HASH STATUS NUL PATH NUL`, as they come."""
    fields = _fields(stream)
    for described in fields:
        before, after, *_ = described.decode().lstrip(":").split(" ")
        yield Change(os.fsdecode(next(fields)), before, after)


def _fields(stream: IO[bytes]) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read(1 << 16):
        *whole, rest = (rest + chunk).split(b"\0")
        yield from whole
