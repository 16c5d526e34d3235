"""docs/comparing.md followed from above: every command and the Python block, in a clone where `runs/mine` is NoPE."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell import Shell

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "comparing.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return [body for marked, body in re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.M | re.S) if marked == language]


@pytest.fixture(name="clone")
def small_clone(tmp_path: Path) -> Path:
    """Runs of NoPE in one group as the user's own, beside the runs of RoPE in that group and one more."""
    groups = ("capitalize-reverse", "maze-path")
    for source in (ROOT / "submissions" / "reference-nope").glob(f"*-{groups[0]}-*"):
        shutil.copytree(source, tmp_path / "runs" / "mine" / source.name)
    rope = tmp_path / "submissions" / "reference-rope"
    for group in groups:
        for source in (ROOT / "submissions" / "reference-rope").glob(f"*-{group}-*"):
            shutil.copytree(source, rope / source.name)
    shutil.copy(ROOT / "submissions" / "reference-rope" / "system.json", rope)
    return tmp_path


def test_every_command_works_and_the_first_prints_what_is_shown(
    clone: Path, lgbench: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(clone)
    printed = []
    for command in "".join(blocks("sh")).splitlines():
        words = shlex.split(command, comments=True)
        assert words[0] == "lgbench"
        done = lgbench(*words[1:])
        assert done.status == 0, done.err
        printed.append([line.rstrip() for line in done.out.splitlines()])
    (shown,) = [block for block in blocks("") if block.startswith("mine and reference-rope")]
    groups = "add-carry, add-subtract, add-multiply, copy-mqar, maze-trace and maze-path, so these groups are"
    expected = [line.rstrip() for line in shown.replace(groups, "maze-path, so this group is").splitlines()]
    assert [line for line in printed[0] if line] == [line for line in expected if line]
    assert printed[-1][0] == "mine and rope cannot be told apart."
    assert (clone / "mine.svg").stat().st_size > 10_000


def test_the_python_block_runs(clone: Path) -> None:
    pytest.importorskip("matplotlib")
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], cwd=clone, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['mine and reference-rope cannot be told apart.']\n"
