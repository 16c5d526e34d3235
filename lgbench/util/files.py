"""Files that are written whole or not at all, and folders that one process owns at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import IO

from lgbench.util.errors import FolderInUseError, LgbenchError
from lgbench.util.links import is_folder, open_own, refuse_links

LOCK_FILE = ".lock"
TEMPORARY = ".lgbench-tmp"
"""How the names of files end that are not whole yet. No one else's file is called so: what is left is removed."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


@contextlib.contextmanager
def write_errors(path: Path, *, advice: str = "", only_about: Path | None = None) -> Iterator[None]:
    """Tell an OSError of the block as a sentence: `path` cannot be written to, and why.

    Args:
        path: As the user knows it.
        advice: A sentence to add.
        only_about: A file or folder. An OSError about another one is let through: it is of the user's code, or a bug.

    Raises:
        LgbenchError: The sentence.
    """
    try:
        yield
    except OSError as error:
        if only_about is not None and not _is_about(error, only_about):
            raise
        sentence = f"Cannot write to {str(path)!r}: {error.strerror or error}."
        raise LgbenchError(f"{sentence} {advice}".rstrip()) from error


@contextlib.contextmanager
def atomic_writer(path: Path) -> Iterator[IO[bytes]]:
    """A file to write under a temporary name beside `path`, renamed to it when the block ends well.

    A new file has the mode that the umask leaves, and one that was there keeps its own.

    Raises:
        LgbenchError: `path` is a link, a pipe or a device.
        OSError: It could not be written; what stood at `path` is untouched.
    """
    refuse_links(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(path.lstat().st_mode))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def output_writer(path: Path) -> Iterator[IO[bytes]]:
    """The file that a user names as an output: as `atomic_writer` has it, or a pipe or device, written as it is.

    Raises:
        LgbenchError: `path` is a link, and none of the system's own, as `/dev/stdout` is.
        OSError: It could not be written; a file that stood at `path` is untouched.
    """
    if _is_stream(path):
        with path.open("wb") as file:
            yield file
    else:
        with atomic_writer(path) as file:
            yield file


def _is_stream(path: Path) -> bool:
    """Whether a path is a pipe or a device, or one of the links by which a system names what a process has open."""
    place = os.path.realpath(path.parent)
    if place in ("/dev", "/dev/fd") or (place.startswith("/proc/") and place.endswith("/fd")):
        return True
    try:
        mode = path.lstat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


@contextlib.contextmanager
def atomic_folder(path: Path, *, advice: str = "") -> Iterator[Path]:
    """A folder to fill under a temporary name beside `path`, renamed to it when the block ends well.

    It and its files have the mode that the umask leaves. An empty folder at `path` stays the one that it is, for a
    shell may be in it or a disk mounted on it: what was made under a temporary name in it moves up when the block ends
    well.

    Args:
        path: Where the folder is to be; folders above it that are missing are made.
        advice: A sentence to add where it cannot be written.

    Raises:
        LgbenchError: It cannot be written, or there is something else at `path`, a link among others, which is
            untouched.
    """
    refuse_links(path)
    with write_errors(path):
        is_there = _is_empty_folder(path)
    temporary = (path if is_there else path.parent) / f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}"
    with write_errors(path, advice=advice, only_about=temporary):
        temporary.mkdir(parents=True)
        try:
            yield temporary
            mode = temporary.stat().st_mode & 0o666
            for written in filter(Path.is_file, temporary.rglob("*")):
                written.chmod(mode)  # a library may have made it for its owner alone
                with written.open("r+b") as file:
                    os.fsync(file.fileno())
            if is_there:
                for each in list(temporary.iterdir()):
                    each.rename(path / each.name)
            else:
                temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _is_empty_folder(path: Path) -> bool:
    """Whether a folder is at `path` rather than nothing. What a killed process left in it is removed."""
    if path.is_dir():
        if not all(is_unfinished(each.name) for each in path.iterdir()):
            raise LgbenchError(f"{str(path)!r} is not empty. Choose another folder, or empty it.")
        remove_leftovers(path)
        return True
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    return False


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: a reader sees the old content or the new.

    Raises:
        LgbenchError: `path` is a link, a pipe or a device.
        OSError: It could not be written; what stood at `path` is untouched.
    """
    with atomic_writer(path) as file:
        file.write(content)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_unfinished(name: str) -> bool:
    """Whether a file or folder of this name is one that is being written, or was when its process was killed."""
    return name.startswith(".") and name.endswith(TEMPORARY)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes left in a folder under temporary names when they were killed as they wrote."""
    for left in folder.glob(f".*{TEMPORARY}"):
        # Of a link the link itself goes, never what it leads to.
        shutil.rmtree(left) if is_folder(left) else left.unlink(missing_ok=True)


@contextlib.contextmanager
def owned_folder(folder: Path, writes: Iterable[str | PurePath] = ()) -> Iterator[None]:
    """Make a folder and own it until the block ends. The operating system lets go of it if the process dies.

    Args:
        folder: The folder.
        writes: The paths in it that the block may write, append to or remove.

    Raises:
        LgbenchError: Another process owns it, or it cannot be made or written to, now or within the block; it, or one
            of `writes`, is reached through a link.
    """
    refuse_links(folder, [LOCK_FILE, *writes])
    if folder.exists() and not folder.is_dir():
        raise LgbenchError(f"{str(folder)!r} is a file, not a folder. Choose another.")
    with write_errors(folder, advice="What it holds already is kept.", only_about=folder):
        folder.mkdir(parents=True, exist_ok=True)
        with open_own(folder / LOCK_FILE, "ab") as file:
            _lock(file.fileno(), folder)
            remove_leftovers(folder)
            try:
                yield
            finally:
                if sys.platform == "win32":  # it removes no open file, and this one locks nobody out there
                    file.close()
                (folder / LOCK_FILE).unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # only an empty folder can be removed, and it need not stay
                    folder.rmdir()


def is_owned(folder: Path) -> bool:
    """Whether a running process owns a folder, as `owned_folder` does; no link and no other file passes for its lock.

    False also where there are no such locks, as on Windows.
    """
    lock = folder / LOCK_FILE
    if sys.platform == "win32" or lock.is_symlink() or not lock.is_file():
        return False
    import fcntl

    try:
        with lock.open("rb") as file:
            # Shared, so that two that ask do not see each other. It is let go at once.
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # it cannot be read, or its disk has no locks
        return False
    return False


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error is about this file or folder, or one within, or a folder that it is in."""
    if error.filename is None:  # of a file that was open already
        return error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    failed, whole = Path(os.fsdecode(error.filename)).resolve(), path.resolve()
    return failed.is_relative_to(whole) or whole.is_relative_to(failed)


# The package filelock does not give what is needed here: it leaves the file of a lock in the folder, where a run leaves
# nothing of its own; it cannot ask as `is_owned` does; and where a disk has no locks, its replacement is a file that
# outlives a killed process. What it would add are locks on Windows.
def _lock(descriptor: int, folder: Path) -> None:
    if sys.platform == "win32":  # no flock there: two processes in one folder go unnoticed
        return
    import fcntl

    with contextlib.suppress(BlockingIOError, FileNotFoundError):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:  # some clusters' shared disks: nor are they noticed here
                return
            raise
        # A lock on a file that its last owner has removed since keeps nobody out.
        if os.fstat(descriptor).st_ino == (folder / LOCK_FILE).stat().st_ino:
            return
    raise FolderInUseError(f"Another process is writing to {str(folder)!r}. Wait for it, or choose another.")
