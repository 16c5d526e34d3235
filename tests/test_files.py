"""Files that are written whole: what stood at their path, and how the new one may be used."""

import errno
import os
import re
import shutil
import stat
from pathlib import Path

import pytest

from lgbench.errors import LgbenchError
from lgbench.files import TEMPORARY, atomic_folder, telling_writes, write_atomically
from tests.full_disk import full_disk


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
            (unfinished / "of-its-owner").touch(0o600)
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o750
    assert mode(tmp_path / "new" / "file") == mode(tmp_path / "new" / "of-its-owner") == 0o640


def test_an_empty_folder_is_filled_and_stays_the_one_that_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder := tmp_path / "folder").mkdir()
    (link := tmp_path / "link").symlink_to("folder")
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    for path in (Path(), link, folder):
        (folder / f".killed{TEMPORARY}").mkdir()
        with atomic_folder(path) as unfinished:
            (unfinished / "inner").mkdir()
            (unfinished / "inner" / "file").touch()
        assert folder.stat().st_ino == before, "a shell may be in it, or a disk mounted on it"
        assert sorted(tmp_path.rglob("*")) == [folder, folder / "inner", folder / "inner" / "file", link]
        shutil.rmtree(folder / "inner")


def test_only_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "full" / "mine").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for name, told in (
        ("full", "full' is not empty. Choose another folder, or empty it."),
        ("file", "Cannot write to .*file': File exists."),
        ("dangling", "Cannot write to .*dangling': File exists."),
        ("file/new", "Cannot write to .*new': Not a directory."),
    ):
        with pytest.raises(LgbenchError, match=told), atomic_folder(tmp_path / name):
            pytest.fail("what cannot be written is found before the work")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("is_there", [False, True])
def test_a_folder_that_cannot_be_finished_leaves_nothing(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "folder"
    if is_there:
        folder.mkdir()
    told = pytest.raises(LgbenchError, match=r"Cannot write to .*folder': File too large\. Make room\.$")
    with full_disk(room=10), told, atomic_folder(folder, advice="Make room.") as unfinished:
        (unfinished / "first").touch()
        (unfinished / "second").write_bytes(b"x" * 11)
    assert list(tmp_path.rglob("*")) == [folder] * is_there
    with pytest.raises(FileNotFoundError), atomic_folder(folder):  # it is not about the folder
        (tmp_path / "elsewhere" / "file").touch()


def test_a_folder_that_another_process_made_meanwhile_is_kept(tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match=r"Cannot write to .*folder'"), atomic_folder(tmp_path / "folder"):
        (tmp_path / "folder" / "theirs").mkdir(parents=True)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "folder", tmp_path / "folder" / "theirs"]


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
