"""No file is written through a link.

The path that a user names may pass through links, as `/tmp` or a home folder often does. Its last part, and everything
in a folder that lgbench writes to, may come from someone else's branch or archive: a link there is refused before
anything is written, and so is a pipe or a device. Nothing is resolved.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import BinaryIO, Literal

from lgbench.util.errors import LgbenchError

_JUNCTION = 0xA0000003  # IO_REPARSE_TAG_MOUNT_POINT of Windows; Python 3.11 has no `Path.is_junction`


def refuse_links(path: Path, names: Iterable[str | PurePath] = ()) -> None:
    """Make sure that a file or folder, and what is to be written in it, are reached through no link.

    Args:
        path: As the user knows it. A folder that it lies in may be a link.
        names: Paths below `path` that are to be written or removed. They need not exist.

    Raises:
        LgbenchError: One of them, or a folder on the way to it from `path`, is a link, a pipe or a device.
    """
    inside = [each for name in map(PurePath, names) for each in (*reversed(name.parents), name)]
    for each in dict.fromkeys([path, *(path / part for part in inside)]):
        if what := _what_is_wrong(each):
            raise LgbenchError(
                f"Cannot write to {str(path)!r}: {str(each)!r} is {what}, and lgbench writes through none. Remove it, "
                "or choose another place."
            )


def _what_is_wrong(path: Path) -> str | None:
    status = _status(path)
    if status is None or is_folder(path) or is_file(path):
        return None
    return "a link" if _leads_elsewhere(status) else "a pipe or a device"


def _status(path: Path) -> os.stat_result | None:
    """What is at a path, without asking where a link leads: the text of a hostile one need be no path at all."""
    try:
        return path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def _leads_elsewhere(status: os.stat_result) -> bool:
    return stat.S_ISLNK(status.st_mode) or getattr(status, "st_reparse_tag", 0) == _JUNCTION


def is_folder(path: Path) -> bool:
    """Whether there is a folder at a path, and no link to one."""
    return (status := _status(path)) is not None and stat.S_ISDIR(status.st_mode) and not _leads_elsewhere(status)


def is_file(path: Path) -> bool:
    """Whether there is a regular file at a path, and no link to one."""
    return (status := _status(path)) is not None and stat.S_ISREG(status.st_mode)


def contents(folder: Path) -> dict[str, Path]:
    """Everything in and below a folder by its path in it, folders too. No link is followed.

    Raises:
        OSError: A folder cannot be read.
    """
    found: dict[str, Path] = {}
    waiting = [folder] if is_folder(folder) else []
    for place in waiting:  # grows as folders are found
        for path in sorted(place.iterdir()):
            found[path.relative_to(folder).as_posix()] = path
            if is_folder(path):
                waiting.append(path)
    return found


def open_own(path: Path, mode: Literal["ab", "r+b", "xb"]) -> BinaryIO:
    """Open a file in a folder of ours, to write to it where it is.

    Raises:
        LgbenchError: It is a link, a pipe or a device, or has a second name elsewhere (a hard link).
        OSError: It cannot be opened.
    """
    refuse_links(path)
    file = open(path, mode, opener=_open_no_link)  # noqa: SIM115  # a Path takes no opener
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        file.close()
        raise LgbenchError(
            f"Cannot write to {str(path)!r}: it is a file with a second name elsewhere, whose content would change "
            "too. Put a copy in its place, or choose another place."
        )
    return file


def _open_no_link(path: str, flags: int) -> int:
    """Open a file unless it became a link after it was checked; a pipe is opened without waiting for its reader."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0), 0o666)
