"""docs/adding-a-task.md followed to the letter: a task from outside the package, and its publication in a copy."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lgbench.data.drafts import open_suite
from lgbench.data.groups import TRAINED_ARMS
from tests.shell import Shell

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# The page's suite may exist one day. This one never will.
PAGE = (ROOT / "docs" / "adding-a-task.md").read_text("utf-8").replace("mini-v2", "mini-v0")
BLOCK = r"<!-- (above|end of): (\S+): (.*?) -->\n(?:<!-- fmt: off -->\n)?```\w+\n(.*?)```\n"
SHAPE = ("layers=1", "heads=2", "width=16", "hidden=16")
TINY = [f"--set={each}" for each in (*SHAPE, "steps=12", "batch=64", "learning_rate=1e-2")]


def own_file() -> str:
    found = re.search(r"<!-- file: my_task.py -->\n```python\n(.*?)```\n", PAGE, re.S)
    assert found
    return found[1]


def run(folder: Path, *command: str, package: Path) -> str:
    """What a Python command prints, run in a folder, with a package."""
    environment = os.environ | {"PYTHONPATH": str(package), "PYTHONPYCACHEPREFIX": str(folder / "caches")}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.usefixtures("short_replies")
def test_the_commands_of_the_page_work_with_a_file_outside_the_package(lgbench: Shell) -> None:
    def told(*command: str) -> str:
        done = lgbench(*command)
        assert done.status == 0, done.err
        return done.out + done.err

    Path("my_task.py").write_text(own_file(), encoding="utf-8")
    commands = [line.split() for line in re.findall(r"^\$ lgbench (.*)$", PAGE, re.M)]
    assert [command[0] for command in commands] == ["tasks", "suites", "eval", "train", "reproduce"]
    shown, listed, oracle = (told(*command) for command in commands[:3])
    assert len(re.findall(r"^([a-zA-Z])([a-zA-Z]{4})=\n +\2\1$", shown, re.M)) == 5
    assert "rotate-copy\n  main task    rotate ≤ 8" in listed
    assert all("my-v0 is a draft suite (my_task.py:suite)" in text for text in (shown, listed, oracle))
    result = json.loads(Path("runs/oracle/result.json").read_text("utf-8"))
    assert {cell["task"] for cell in result["cells"]} == {"rotate", "string_copy", "repeat_first"}
    assert all(cell["counts"]["correct"] == cell["counts"]["total"] == 64 for cell in result["cells"])
    assert result["draft"]["reference"] == "my_task.py:suite"
    if importlib.util.find_spec("torch"):
        assert commands[4][-2:] == ["--jobs", "2"]  # which the runs of this moment do without
        train, reproduce = ([*command, *TINY] for command in (commands[3], commands[4][:-2]))
        assert "lgbench eval runs/rotate/checkpoint --suite my_task.py:suite" in told(*train)
        assert "rotate-copy: too few seeds" in told(*reproduce, "--seeds=1", "--output=runs/many")


def test_the_arm_of_the_page_is_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"^```python run\n(.*?)^```$", PAGE, re.M | re.S)
    arm = next(block for block in blocks if "aux_first" in block)
    changed = "suite = replace(suite, name='my-v1', groups=(replace(suite.groups[0], arms=arms),))"
    text = f"{arm}\n{own_file()}\nfrom dataclasses import replace\n{changed}\n"
    (tmp_path / "my_arm.py").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    suite = open_suite("my_arm.py:suite")
    assert [arm.name for arm in suite.arms] == [*TRAINED_ARMS, "aux_first"]
    mixture = suite.groups[0].mixture("aux_first")
    assert str(mixture) == (
        "1/4 of the steps: 1 string_copy to 16; 3/4 of the steps: 1/2 rotate to 8, 1/2 string_copy to 16"
    )


def copy_with_new_task(folder: Path) -> None:
    """Copy what the page changes, put the task into a file of the package, and every line where the page says."""
    without_caches = shutil.ignore_patterns("__pycache__", "runs", "sweeps", "ablations", "trials")
    for name in ("lgbench", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=without_caches)
    shutil.copy(ROOT / "pyproject.toml", folder)
    task = own_file().partition("\nsuite = ")[0]
    kept = [
        line for line in task.splitlines(keepends=True) if "groups import" not in line and "suites import" not in line
    ]
    text = '"""Strings turned by one letter."""\n' + "".join(kept)
    (folder / "lgbench/data/tasks/rotate.py").write_text(text, "utf-8")
    for way, name, anchor, text in re.findall(BLOCK, PAGE, re.S):
        lines = (folder / name).read_text("utf-8").splitlines(keepends=True)
        at = next(number for number, line in enumerate(lines) if line.startswith(anchor))
        if way == "end of":
            at = next(number for number in range(at, len(lines)) if lines[number].startswith(")"))
        lines.insert(at, text)
        (folder / name).write_text("".join(lines), encoding="utf-8")


@pytest.mark.nightly
def test_a_task_is_published_as_the_page_says(tmp_path: Path) -> None:
    copy_with_new_task(tmp_path)
    files = {path: path.read_text("utf-8") for path in _generated(tmp_path)}
    assert re.findall(r"^\$ (python .*)$", PAGE, re.M) == ["python -m tests.regenerate"]
    run(tmp_path, "-m", "tests.regenerate", package=tmp_path)
    written = {path: path.read_text("utf-8") for path in _generated(tmp_path)}
    new = tmp_path / "lgbench/data/locks/mini-v0.json"
    assert written.keys() - files.keys() == {new}
    assert {cell for cell in json.loads(written[new]) if "rotate" in cell} == {f"rotate@1/{n}" for n in range(2, 21, 2)}
    for path, before in files.items():
        assert _lines(before) <= _lines(written[path]), path
    golden = json.loads((tmp_path / "tests/training_blocks.json").read_text("utf-8"))
    assert {name for name in golden if "rotate" in name} == {f"rotate-copy/{arm}" for arm in TRAINED_ARMS}
    of_data = [f"tests/data/test_{name}.py" for name in ("suites", "tasks", "cells", "training_data")]
    new_only = "(rotate or mini-v0 or protocol) and not worker and not drawn"  # the others are tested beside this one
    own = ["-n", "0", "-p", "no:cacheprovider", "-k", new_only]
    tests = [*own, *of_data, "tests/project/test_docs.py", "lgbench/data/tasks"]
    told = run(tmp_path, "-m", "pytest", *tests, package=tmp_path)
    assert int(re.findall(r"(\d+) passed", told)[0]) > 30


def _lines(text: str) -> set[str]:
    return {line.rstrip(",") for line in text.splitlines()}


def _generated(folder: Path) -> list[Path]:
    locks = (folder / "lgbench/data/locks").iterdir()
    return [*locks, folder / "tests/training_blocks.json", folder / "docs/protocol.md"]
