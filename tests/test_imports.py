"""What is loaded when. Each test shows first that it could fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "pandas", "scipy", "numpy", "pydantic")


def loaded_after(*arguments: str) -> set[str]:
    """The heavy packages that a command has loaded when it ends."""
    code = (
        "import sys\n"
        f"sys.argv = ['lgbench', *{list(arguments)!r}]\n"
        "import contextlib, io\n"
        "from lgbench.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
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
    "arguments", [["eval", "oracle", "--limit", "1", "--output", "/dev/null/x"], ["validate"], ["leaderboard", "build"]]
)
def test_torch_is_left_alone(arguments: list[str]) -> None:
    assert not loaded_after(*arguments) & {"torch", "transformers"}
