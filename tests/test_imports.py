"""What is loaded when. Each test shows first that it could fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUBMISSIONS = Path(__file__).parents[1] / "submissions"
HEAVY = ("torch", "transformers", "pandas", "scipy", "numpy", "pydantic")


def loaded_after(*arguments: str, folder: Path | None = None) -> set[str]:
    """The heavy packages that a command, run in a folder, has loaded when it ends well."""
    code = (
        "import sys\n"
        f"sys.argv = ['lgbench', *{list(arguments)!r}]\n"
        "import contextlib, io\n"
        "from lgbench.cli import main\n"
        "status = 0\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        status = end.code\n"
        "assert not status, status\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_check_sees_what_is_loaded() -> None:
    assert {"numpy", "pydantic"} <= loaded_after("suites", "show")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["eval", "--help"],
        ["suites", "show", "--help"],
        ["train", "--help"],
        ["reproduce", "--help"],
        ["demo", "--help"],
        ["export", "hf", "--help"],
        ["--version"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_after(*arguments) == set()


@pytest.mark.parametrize(
    "arguments", [["eval", "oracle", "--limit", "1", "--output", "run"], ["validate"], ["leaderboard", "build"]]
)
def test_torch_is_left_alone(arguments: list[str], tmp_path: Path) -> None:
    shutil.copytree(SUBMISSIONS, tmp_path / "submissions")
    assert not loaded_after(*arguments, folder=tmp_path) & {"torch", "transformers"}
    assert (tmp_path / "run" / "result.json").exists() == (arguments[0] == "eval")
    assert (tmp_path / "leaderboard").exists() == (arguments[0] == "leaderboard")
