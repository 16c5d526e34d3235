"""The README shows what its commands print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
    return [body for marked, body in fenced if marked == language]


def normal(text: str) -> list[str]:
    """Lines without trailing blanks and without the speed, which is the machine's."""
    return [re.sub(r"[\d,]+ replies/s", "N replies/s", line.rstrip()) for line in text.strip().splitlines()]


def test_the_first_block_is_two_commands() -> None:
    first, second = blocks("sh")[0].splitlines()
    assert first.endswith(".venv/bin/lgbench demo")
    assert second.endswith(".venv/bin/pytest")


def test_the_shown_scores_are_what_the_example_prints(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (shown,) = [block for block in blocks("") if block.startswith("examples/my_model.py:MyModel")]
    command = [sys.executable, "-m", "lgbench", "eval", "examples/my_model.py:MyModel"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert normal(done.stdout) == normal(shown)
