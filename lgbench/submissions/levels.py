"""The folders of a tree of submissions: their levels, names and places."""

from __future__ import annotations

import os
from enum import IntEnum
from pathlib import Path

from lgbench.evaluation.folder import RESULT_FILE
from lgbench.evaluation.stored import SYSTEM_FILE
from lgbench.submissions.system import SUBMISSIONS_FOLDER


class Level(IntEnum):
    """The level of a folder, from the top of the tree."""

    ROOT = 0
    SYSTEM = 1
    RUN = 2


def name_of(folder: Path) -> str:
    """The name of a folder, also of one given as `.` or `..`. Links are not followed."""
    return Path(os.path.normpath(folder.absolute())).name


def place_of(folder: Path) -> str:
    """The real path of a folder, with links in the path to it followed, but not the folder itself if it is a link."""
    return str(folder.absolute()) if folder.is_symlink() else os.path.realpath(folder)


def level_of(path: Path) -> Level:
    """Whether a folder is of submissions, of a system or of a run, by its name and its content."""
    if name_of(path) == SUBMISSIONS_FOLDER:
        return Level.ROOT
    if (path / RESULT_FILE).exists():
        return Level.RUN
    return Level.SYSTEM if (path / SYSTEM_FILE).exists() or any(path.glob(f"*/{RESULT_FILE}")) else Level.ROOT


def count_runs(path: Path) -> int:
    """The number of folders below one that are checked as runs, if the folders above them have no problems."""
    below = [path]
    for _ in range(Level.RUN - level_of(path)):
        below = [folder for each in below for folder in _folders(each)]
    return len(below)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder; none in a link, which is not followed."""
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # reported when it is checked
        return []
    return [] if folder.is_symlink() else found


def size_of(path: Path) -> int:
    """The size of a file; 0 where there is none."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0
