"""The README and the pages for a first reader show what their commands print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.results.schema import Result
from lgbench.util.records import read_record
from tests.board import gains

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
FIRST_STEPS = (ROOT / "docs" / "first-steps.md").read_text("utf-8")
PHENOMENON = (ROOT / "docs" / "phenomenon.md").read_text("utf-8")


def blocks(language: str, page: str = FIRST_STEPS) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    return [body for marked, body in fenced if marked == language]


def normal(text: str) -> list[str]:
    """Lines without trailing blanks and without the speed, which is the machine's."""
    return [re.sub(r"took [\d,.]+ s", "took N s", line.rstrip()) for line in text.strip().splitlines()]


def test_the_first_block_is_two_commands() -> None:
    first, second = blocks("sh", README)[0].splitlines()
    assert first.endswith(".venv/bin/lgbench demo")
    assert second.endswith(".venv/bin/pytest")


def test_the_shown_scores_are_what_the_example_prints(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (shown,) = [block for block in blocks("") if block.startswith("examples/my_model.py:MyModel")]
    command = [sys.executable, "-m", "lgbench", "eval", "examples/my_model.py:MyModel"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", check=True)
    assert normal(done.stdout) == normal(shown)


def test_the_shown_demo_is_what_its_committed_results_give() -> None:
    (shown,) = [block for block in blocks("") if block.startswith("Was transfer seen?")]
    results = ROOT / "lgbench" / "checkpoints" / "results"
    folders = [str(results / arm) for arm in ("main_only", "transfer", "control")]
    done = subprocess.run(
        [sys.executable, "-m", "lgbench", "compare", *folders], capture_output=True, encoding="utf-8", check=True
    )
    assert normal(done.stdout) == normal(shown)


def test_the_readme_shows_lines_of_the_demo() -> None:
    shown, _ = blocks("", README)  # the other one is a command
    (demo,) = [block for block in blocks("") if block.startswith("Was transfer seen?")]
    lines = [line.rstrip() for line in shown.splitlines()]
    every = [line.rstrip() for line in demo.splitlines()]
    place = every.index(lines[0])
    assert len(lines) == 5
    assert lines == every[place : place + len(lines)]


@pytest.mark.nightly
def test_the_demo_prints_what_is_shown_and_gives_the_committed_replies(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (shown,) = [block for block in blocks("") if block.startswith("Was transfer seen?")]
    command = [sys.executable, "-m", "lgbench", "demo", "--output", str(tmp_path)]
    first = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    *printed, where = normal(first.stdout)
    assert (printed, where) == (normal(shown), f"Results: {tmp_path}")
    committed = ROOT / "lgbench" / "checkpoints" / "results"
    for arm in ("main_only", "transfer", "control"):
        ours, theirs = (read_record(folder / arm / "result.json", Result) for folder in (tmp_path, committed))
        assert ours.replies_sha256 == theirs.replies_sha256
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert len(written) == 3 * 2
    again = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert again.stdout == first.stdout
    read = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*")}
    assert read == written, "what is there is read, not evaluated again"


def test_every_option_shown_exists() -> None:
    commands = re.findall(
        r"(?:^|`)lgbench ((?:data |leaderboard )?[a-z]+)([^`\n]*)", README + FIRST_STEPS, flags=re.MULTILINE
    )
    assert len(commands) > 20
    helps: dict[str, str] = {}
    for command, rest in commands:
        if command not in helps:
            helps[command] = CliRunner().invoke(app, [*command.split(), "--help"]).output
        for option in re.findall(r"(?<= )--?[a-z][a-z-]*", rest):
            assert option in helps[command], f"lgbench {command} has no {option}"


def test_nothing_is_left_to_fill_in() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    assert not [page.name for page in pages if re.search(r"@[A-Z0-9]+@|^BENCH$|TODO", page.read_text("utf-8"), re.M)]


def test_the_gains_told_are_those_on_the_board() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| ([+-]?\d+\.\d[ ‡].*) \|$", PHENOMENON, flags=re.MULTILINE)
    columns = ("transfer gain", "gain over control", "seeds", "verdict")
    on_board = {group: [shown[name] for name in columns] for group, shown in gains("reference-rope").items()}
    assert {group: rest.split(" | ") for group, rest in rows} == on_board
