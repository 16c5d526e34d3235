"""What the commands print where the output cannot show every character: a pipe on Windows, a terminal without UTF-8."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.selection import night

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "lgbench" / "checkpoints" / "results"
ASCII = {"PYTHONIOENCODING": "ascii"}
CP1252 = {"PYTHONIOENCODING": "cp1252"}
CP437 = {"PYTHONIOENCODING": "cp437"}  # has some of the blocks, and the sign for "at least"
C_LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}
UTF8 = {"PYTHONIOENCODING": "utf-8"}


def output(environment: dict[str, str], *arguments: str | Path) -> str:
    """What a command writes to stdout, in which every byte must be ASCII unless that is UTF-8."""
    done = subprocess.run(
        [sys.executable, "-m", "lgbench", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0"} | environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode("utf-8" if environment is UTF8 else "ascii").replace("\r\n", "\n")


def cells(text: str) -> list[list[str]]:
    """The cells of tables, whatever draws their lines."""
    lines = [line.replace("|", " ").split() for line in text.splitlines()]
    return [line for line in lines if line and not set("".join(line)) <= set("-+─")]


@pytest.mark.parametrize("environment", [CP1252, C_LOCALE, *night([ASCII, CP437])])
def test_bars_and_signs_are_spelled_in_ascii(environment: dict[str, str]) -> None:
    shown = output(environment, "show", RESULTS / "transfer")
    assert "####*=-.__" in shown
    assert "\\u" not in shown
    compared = output(environment, "compare", *(RESULTS / arm for arm in ("main_only", "transfer", "control")))
    assert "##*#______" in compared
    assert "\\u" not in compared
    suite = output(environment, "suites", "show")
    assert "\n  main task    reverse_add <= 8\n" in suite


@pytest.mark.parametrize("environment", [CP1252, *night([ASCII, CP437])])
def test_a_table_is_laid_out_for_what_is_printed(environment: dict[str, str], tmp_path: Path) -> None:
    output(environment, "eval", "oracle", "--task", "reverse", "--limit", "1", "-q", "-o", tmp_path / "run")
    shown = output(environment, "show", tmp_path / "run").splitlines()
    edges = {len(line) for line in shown if line[:1] in ("|", "+")}
    assert len(edges) == 1
    assert any(">=20" in line and "##########" in line for line in shown)


def test_with_utf8_the_same_numbers_are_shown_with_blocks() -> None:
    arms = [RESULTS / arm for arm in ("main_only", "transfer", "control")]
    commands: list[list[str | Path]] = [["show", arms[1], "--lengths"], ["compare", *arms]]
    for command in commands:
        plain, rich = output(ASCII, *command), output(UTF8, *command)
        spelled = str.maketrans("▁▂▃▄▅▆▇█", "_.:-=+*#")
        assert "▁" in rich
        assert cells(rich.translate(spelled)) == cells(plain)
