"""The leaderboard's files: written, compared with what the submissions give, and nothing else touched."""

import tracemalloc
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.leaderboard.build import derive_files, differences, write_files
from lgbench.leaderboard.markdown import GENERATED
from lgbench.leaderboard.svg import OPENING
from lgbench.submissions.checking import read_submissions
from lgbench.util.errors import LgbenchError
from tests.submitted import RUN, edit

ROOT = Path(__file__).parents[2]
LEFT = "is left of a process that was killed as it wrote, or is being written"


def test_files_are_written_compared_and_removed(submissions: Path, tmp_path: Path) -> None:
    board = tmp_path / "leaderboard"
    files = derive_files(read_submissions(submissions))
    picture = board / "systems" / "my-system" / "mini-v1-add-multiply.svg"
    small = picture.with_name("mini-v1-add-multiply-small.svg")
    data = [board / name for name in ("board.json", "board.schema.json", "cells.csv")]
    page = board / "systems" / "my-system.md"
    assert {board / path for path in files} == {board / "README.md", *data, page, small, picture}
    assert write_files(files, board) == [board / "README.md", *data, page, small, picture]
    assert list(differences(files, board)) == []
    for folder in (board, board / "systems", picture.parent):
        (folder / ".page.md.x.lgbench-tmp").write_text("left by a process that was killed", encoding="utf-8")
    left = [f"{folder / '.page.md.x.lgbench-tmp'}" for folder in (board, board / "systems", picture.parent)]
    assert sorted(differences(files, board)) == sorted(f"{path}: {LEFT}" for path in left)
    assert write_files(files, board) == []
    (board / "systems" / "gone.md").write_text(GENERATED, encoding="utf-8")
    (board / "systems" / "gone").mkdir()
    (board / "systems" / "gone" / "mini-v1-open.svg").write_text(OPENING, encoding="utf-8")
    picture.write_text(picture.read_text("utf-8").replace(">100<", ">200<"), encoding="utf-8")
    (board / "README.md").write_text(files["README.md"].replace("mini-v1", "mini-v2"), encoding="utf-8")
    (board / "systems" / "my-system.md").unlink()
    told = list(differences(files, board))
    assert told[:2] == [f"--- {board / 'README.md'}", "+++ derived from the submissions"]
    assert "-## mini-v2" in told
    assert "+## mini-v1" in told
    for gone in ("gone.md", "gone/mini-v1-open.svg"):
        assert f"{board / 'systems' / gone}: no submission gives this file" in told
    assert f"{board / 'systems' / 'my-system.md'}: missing" in told
    assert f"--- {picture}" in told
    assert [line.strip()[-11:] for line in told if line.startswith("-  <text")] == [">200</text>"]
    assert len(write_files(files, board)) == 5
    assert list(differences(files, board)) == []
    assert sorted(path.name for path in (board / "systems").iterdir()) == ["my-system", "my-system.md"]


@pytest.mark.parametrize("end", ["\r\n", "\f", "\u2028"])
def test_other_ends_of_lines_are_drift(submissions: Path, tmp_path: Path, end: str) -> None:
    files = derive_files(read_submissions(submissions))
    board = tmp_path / "leaderboard"
    write_files(files, board)
    (board / "README.md").write_bytes(files["README.md"].replace("\n", end).encode())
    assert f"--- {board / 'README.md'}" in list(differences(files, board))


@pytest.mark.parametrize("more", [b"x" * 10**8, b"\n" * 10**5], ids=["bytes", "lines"])
def test_a_file_far_longer_than_derived_is_not_compared(submissions: Path, tmp_path: Path, more: bytes) -> None:
    files = derive_files(read_submissions(submissions))
    board = tmp_path / "leaderboard"
    write_files(files, board)
    for path in ("README.md", "systems/extra.md", ".page.md.x.lgbench-tmp"):
        with (board / path).open("ab") as file:
            file.write(more)
    del more
    tracemalloc.start()
    told = list(differences(files, board))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    size = len(files["README.md"].encode())
    assert told == [
        f"{board / '.page.md.x.lgbench-tmp'}: {LEFT}",
        f"{board / 'README.md'}: is far longer than what the submissions give ({size:,} bytes)",
        f"{board / 'systems/extra.md'}: no submission gives this file",
    ]
    assert peak < 2_000_000


def test_of_a_large_file_the_first_difference_is_told(tmp_path: Path) -> None:
    rows = [f"{number},1" for number in range(200_000)]
    text = "\n".join(rows)
    for other, told in (
        ([*rows[:70_000], "x", *rows[70_001:]], ["differs from line 70,001 on", "-x", "+70000,1"]),
        (rows[:-1], ["differs from line 200,000 on", "-", "+199999,1"]),
        ([*rows, "x"], ["differs from line 200,001 on", "-x", "+"]),
    ):
        (tmp_path / "cells.csv").write_text("\n".join(other), encoding="utf-8")
        path = tmp_path / "cells.csv"
        assert list(differences({"cells.csv": text}, tmp_path)) == [f"{path}: {told[0]}", *told[1:]]


def test_bytes_that_only_read_alike_are_drift(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(b"a\xffb\n")
    told = list(differences({"README.md": "a\\xffb\n"}, tmp_path))
    assert told == [f"{tmp_path / 'README.md'}: holds bytes that are no UTF-8"]


def test_a_link_in_the_board_is_drift(submissions: Path, tmp_path: Path) -> None:
    board, elsewhere = tmp_path / "leaderboard", tmp_path / "elsewhere.md"
    files = derive_files(read_submissions(submissions))
    write_files(files, board)
    (board / "README.md").rename(elsewhere)
    (board / "README.md").symlink_to(elsewhere)
    assert list(differences(files, board)) == [f"{board / 'README.md'}: is not a regular file"]
    with pytest.raises(LgbenchError, match=r"README\.md' is a link"):
        write_files(files, board)
    assert (board / "README.md").is_symlink()


def test_a_link_that_reads_like_a_page_is_refused(submissions: Path, tmp_path: Path) -> None:
    """What it leads to was overwritten, as its own text was taken for the content of a page."""
    board = tmp_path / "leaderboard"
    files = derive_files(read_submissions(submissions))
    (board / "systems").mkdir(parents=True)
    named = tmp_path / "systems" / "my-system.md"
    for link in (board / "README.md", board / "systems" / "my-system.md"):
        text = GENERATED.strip() + "/../precious"
        (link.parent / GENERATED.strip()).mkdir(parents=True)
        (precious := link.parent / "precious").write_text("years of work", encoding="utf-8")
        link.symlink_to(text)
        with pytest.raises(LgbenchError, match=f"{link.name}' is a link"):
            write_files(files, board)
        assert precious.read_text("utf-8") == "years of work"
        link.unlink()
    page = files["systems/my-system.md"][:1000].replace("/", "-")  # too long for a name
    named.parent.mkdir()
    named.symlink_to(page)
    assert f"{named}: is not a regular file" in differences({"systems/my-system.md": page}, tmp_path)


@pytest.mark.parametrize("place", ["leaderboard", "leaderboard/systems", "leaderboard/systems/my-system"])
def test_nothing_is_written_through_a_link_to_a_folder(place: str, submissions: Path, tmp_path: Path) -> None:
    board, elsewhere = tmp_path / "leaderboard", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).symlink_to(elsewhere)
    files = derive_files(read_submissions(submissions))
    with pytest.raises(LgbenchError, match="is a link"):
        write_files(files, board)
    assert list(elsewhere.iterdir()) == []
    assert list(differences(files, board)) != []


def test_a_folder_in_the_place_of_a_page_is_named(submissions: Path, tmp_path: Path) -> None:
    files = derive_files(read_submissions(submissions))
    (page := tmp_path / "board" / "systems" / "my-system.md").mkdir(parents=True)
    with pytest.raises(LgbenchError, match=f"Cannot write to '{page}': Is a directory"):
        write_files(files, tmp_path / "board")


def test_what_a_killed_build_left_is_drift_and_removed(submissions: Path, tmp_path: Path) -> None:
    board, mine = tmp_path / "leaderboard", tmp_path / "mine"
    files = derive_files(read_submissions(submissions))
    write_files(files, board)
    mine.mkdir()
    (mine / ".file.lgbench-tmp").touch()
    (board / "systems" / ".folder.lgbench-tmp").symlink_to(mine)
    assert ["killed" in line for line in differences(files, board)] == [True]
    assert write_files(files, board) == []
    assert list(differences(files, board)) == []
    assert list(mine.iterdir()) == [mine / ".file.lgbench-tmp"]


@pytest.mark.parametrize(
    "path",
    [
        "README.md",
        "systems/thesis.md",
        "systems/mine/thesis.svg",
        "systems/mine/thesis-small.svg",
        "board.json",
        "board.schema.json",
        "cells.csv",
        "thesis.tex",
        "thesis.md",
        "systems/thesis.tex",
        "systems/mine/thesis.tex",
        "systems/mine/old/thesis.svg",
    ],
)
def test_what_is_no_part_of_a_board_is_not_removed(path: str, tmp_path: Path) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("years of work", encoding="utf-8")
    (tmp_path / ".run.x.lgbench-tmp").write_text("of a run that is being written", encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"(thesis|README|board|cells).* is not a part of a leaderboard"):
        write_files(derive_files([]), tmp_path)
    found = {each for each in tmp_path.rglob("*") if each.is_file()}
    assert found == {tmp_path / path, tmp_path / ".run.x.lgbench-tmp"}


def lgbench(*arguments: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return done.exit_code, done.output


def test_build_and_check_as_typed(submissions: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(submissions.parent)
    status, out = lgbench("leaderboard", "build", "--check")
    assert status == 1
    assert "leaderboard/README.md: missing" in out
    assert "Run: lgbench leaderboard build" in out
    assert not Path("leaderboard").exists()
    assert lgbench("leaderboard", "build")[0] == 0
    assert lgbench("leaderboard", "build", "--check") == (
        0,
        "leaderboard/ is up to date with submissions/ (pages, pictures and data: 7).\n",
    )
    edit(submissions / "my-system" / "system.json", lambda record: record.update(description="Adds more."))
    status, out = lgbench("leaderboard", "build", "--check")
    assert status == 1
    assert "-Adds\\.\n+Adds more\\.\n" in out
    edit(submissions / "my-system" / RUN / "result.json", lambda result: result.update(limit=3))
    with pytest.raises(LgbenchError, match="limit: is 3"):
        lgbench("leaderboard", "build")


@pytest.mark.slow
def test_the_committed_board_is_what_the_committed_submissions_give() -> None:
    files = derive_files(read_submissions(ROOT / "submissions"))
    assert list(differences(files, ROOT / "leaderboard")) == []
