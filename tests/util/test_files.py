"""Files that are written whole: what stood at their path, and how the new one may be used."""

import errno
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from lgbench.util.errors import LgbenchError
from lgbench.util.files import (
    TEMPORARY,
    atomic_folder,
    output_writer,
    owned_folder,
    remove_leftovers,
    write_atomically,
    write_errors,
)
from lgbench.util.links import open_own, refuse_links
from tests.full_disk import full_disk


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_output(path: Path, content: bytes) -> None:
    with output_writer(path) as file:
        file.write(content)


def test_a_pipe_that_a_user_names_is_written_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    keeper = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)  # so that neither end waits for the other
    try:
        write_output(pipe, b"whole")
        assert os.read(keeper, 5) == b"whole"
        with pytest.raises(LgbenchError, match="is a pipe or a device, and lgbench writes through none"):
            write_atomically(pipe, b"no one named it")
    finally:
        os.close(keeper)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_pipe_without_a_name_is_written() -> None:
    reading, writing = os.pipe()
    try:
        write_output(Path(f"/dev/fd/{writing}"), b"whole")  # as `-o /dev/stdout | head` and `-o >(gzip)` name it
        assert os.read(reading, 5) == b"whole"
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("write", [write_atomically, write_output])
@pytest.mark.parametrize("is_there", [False, True])
def test_nothing_is_written_through_a_link(
    write: Callable[[Path, bytes], None], is_there: bool, tmp_path: Path
) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    if is_there:
        file.write_bytes(b"years of work")
    with pytest.raises(LgbenchError, match=r"link' is a link, and lgbench writes through none\. Remove it"):
        write(link, b"new")
    assert link.is_symlink()
    assert file.exists() == is_there
    assert not is_there or file.read_bytes() == b"years of work"
    assert set(tmp_path.iterdir()) <= {file, link}


@pytest.mark.parametrize("write", [write_atomically, write_output])
def test_a_path_may_pass_through_links(write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    """As `/tmp` on macOS is one, and many a home folder."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "home").symlink_to("disk")
    write(tmp_path / "home" / "file", b"new")
    assert (tmp_path / "disk" / "file").read_bytes() == b"new"
    refuse_links(tmp_path / "home" / "run", ["checkpoint/model.safetensors"])


@pytest.mark.parametrize("place", ["run", "run/result.json", "run/.lock", "run/checkpoint", "run/checkpoint/x"])
def test_a_folder_with_a_link_on_the_way_is_not_owned(place: str, tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    with (
        pytest.raises(LgbenchError, match=f"{place}' is a link"),
        owned_folder(tmp_path / "run", ["result.json", "checkpoint/x"]),
    ):
        pytest.fail("it is found before the work")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_second_name_of_a_file_is_not_written_to(tmp_path: Path) -> None:
    (file := tmp_path / "file").write_bytes(b"years of work\n")
    (second := tmp_path / "second").hardlink_to(file)
    for mode in ("ab", "r+b"):
        with pytest.raises(LgbenchError, match="a file with a second name elsewhere"):
            open_own(second, cast(Any, mode))
    write_atomically(second, b"new")
    assert file.read_bytes() == b"years of work\n"


def test_a_pipe_in_a_run_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "replies")
    with pytest.raises(LgbenchError, match="replies' is a pipe or a device"):
        open_own(tmp_path / "replies", "ab")


def test_what_a_killed_process_left_is_removed_and_what_it_leads_to_is_kept(tmp_path: Path) -> None:
    (run := tmp_path / "run").mkdir()
    (mine := tmp_path / "mine").mkdir()
    (mine / "file").touch()
    for name, target in (("folder", mine), ("file", mine / "file"), ("nowhere", tmp_path / "gone")):
        (run / f".{name}{TEMPORARY}").symlink_to(target)
    remove_leftovers(run)
    assert list(run.iterdir()) == []
    assert (mine / "file").exists()


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
    monkeypatch.chdir(folder)
    before = folder.stat().st_ino
    for path in (Path(), folder):
        (folder / f".killed{TEMPORARY}").mkdir()
        with atomic_folder(path) as unfinished:
            (unfinished / "inner").mkdir()
            (unfinished / "inner" / "file").touch()
        assert folder.stat().st_ino == before, "a shell may be in it, or a disk mounted on it"
        assert sorted(tmp_path.rglob("*")) == [folder, folder / "inner", folder / "inner" / "file"]
        shutil.rmtree(folder / "inner")


def test_only_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "full" / "mine").mkdir(parents=True)
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for name, told in (
        ("full", "full' is not empty. Choose another folder, or empty it."),
        ("file", "Cannot write to .*file': File exists."),
        ("dangling", "Cannot write to .*dangling' is a link"),
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
        with pytest.raises(LgbenchError, match=sentence), write_errors(run, advice=advice):
            (run / "file").touch()
    with pytest.raises(FileNotFoundError), write_errors(run, only_about=run):
        (other / "file").touch()
    with pytest.raises(LgbenchError, match=r"run': Disk full\."), write_errors(run, only_about=run):
        raise OSError(errno.ENOSPC, "Disk full")
