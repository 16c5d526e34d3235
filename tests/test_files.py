"""Files that are written whole: what stood at their path, and how the new one may be used."""

import os
import stat
from pathlib import Path

import pytest

from lgbench.files import write_atomically


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


def test_a_folder_is_no_place_for_a_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_atomically(tmp_path, b"x")
