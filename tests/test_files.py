"""Files that are written whole: what stood at their path, and how the new one may be used."""

import contextlib
import errno
import os
import re
import stat
from pathlib import Path

import pytest

from lgbench.errors import LgbenchError
from lgbench.files import atomic_folder, telling_writes, write_atomically


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_pipe_is_written_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keeper = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # so that neither end waits for the other
    try:
        write_atomically(pipe, b"whole")
        assert os.read(keeper, 5) == b"whole"
    finally:
        os.close(keeper)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_pipe_without_a_name_is_written() -> None:
    reading, writing = os.pipe()
    try:
        write_atomically(Path(f"/dev/fd/{writing}"), b"whole")  # as `-o /dev/stdout | head` and `-o >(gzip)` name it
        assert os.read(reading, 5) == b"whole"
    finally:
        os.close(reading)
        os.close(writing)


def test_what_a_link_leads_to_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link = tmp_path / "elsewhere" / "file", tmp_path / "link"
    link.symlink_to(file)
    for content in (b"new", b"newer"):
        write_atomically(link, content)
        assert link.is_symlink()
        assert file.read_bytes() == content


def test_a_file_keeps_its_mode_and_a_new_one_has_what_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "new", b"")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o600
    (tmp_path / "new").chmod(0o640)
    write_atomically(tmp_path / "new", b"x")
    assert mode(tmp_path / "new") == 0o640


def test_a_folder_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_folder(tmp_path / "new") as unfinished:
            (unfinished / "file").touch()
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o750


def test_a_folder_takes_the_place_of_an_empty_one_only(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / "folder").mkdir(exist_ok=True)
        refused = pytest.raises(OSError, match="not empty") if name == "second" else contextlib.nullcontext()
        with refused, atomic_folder(tmp_path / "folder") as unfinished:
            (unfinished / name).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "first"]


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"x")


def test_a_write_that_fails_is_told_as_a_sentence(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    for advice, end in (("", ""), ("Make room.", " Make room.")):
        sentence = re.escape(f"Cannot write to {str(run)!r}: No such file or directory.{end}") + "$"
        with pytest.raises(LgbenchError, match=sentence), telling_writes(run, advice=advice):
            (run / "file").touch()
    with pytest.raises(FileNotFoundError), telling_writes(run, only_about=run):
        (other / "file").touch()
    with pytest.raises(LgbenchError, match=r"run': Disk full\."), telling_writes(run, only_about=run):
        raise OSError(errno.ENOSPC, "Disk full")
