"""The folders that `lgbench eval` chooses, and the command it names when a run stops."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import pytest

from lgbench.cli.fresh_folder import fresh_run_folder
from lgbench.running.folder import PARTIAL_FILE, RUN_FILE
from tests.test_cli import Shell

MODEL = """
class Stops:
    def predict(self, prompts, task):
        if len(prompts[0]) > 3:
            raise RuntimeError("spent")
        return ["a"] * len(prompts)

class Broken:
    def __init__(self):
        raise RuntimeError("broken")

class A{long}:
    def predict(self, prompts, task):
        return ["a"] * len(prompts)
"""
LONG = "b" * 240
SHORT = ("--task", "reverse", "--length", "2,4", "--limit", "2")


@pytest.fixture(name="lgbench")
def lgbench_shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.py").write_text(MODEL.format(long=LONG), encoding="utf-8")
    return Shell(capsys, monkeypatch)


def test_two_runs_that_begin_together_choose_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        chosen = [stack.enter_context(fresh_run_folder("echo", "mini-v1")) for _ in range(2)]
        assert [folder.name for folder in chosen] == ["echo-mini-v1-1", "echo-mini-v1-2"]
    assert list(tmp_path.iterdir()) == [], "nothing was written to them"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody makes another")
def test_a_folder_that_cannot_be_made_is_told(lgbench: Shell, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("/proc")
    done = lgbench("eval", "echo", *SHORT, "-q")
    told = f"Cannot write to {str(tmp_path / 'runs')!r}: No such file or directory. Choose an --output."
    assert (done.status, done.err) == (1, f"Error: {told}\n")


def test_a_failing_start_leaves_no_folder(lgbench: Shell, tmp_path: Path) -> None:
    told = lgbench("eval", "m.py:Broken", *SHORT).err
    assert "broken" in told
    assert "will be in" not in told
    assert not (tmp_path / "runs").exists()
    assert f"will be in {Path('runs')}" in lgbench("eval", "echo", *SHORT).err


def test_a_long_name_is_cut(lgbench: Shell, tmp_path: Path) -> None:
    done = lgbench("eval", f"m.py:A{LONG}", *SHORT, "-q")
    assert done.status == 0, done.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(folder.name) == 150 + len("-1")


def test_the_command_that_goes_on_is_one(lgbench: Shell) -> None:
    """Also where MODEL follows a `--`, behind which nothing is an option."""
    for arguments in (["m.py:Stops", *SHORT], [*SHORT, "--", "m.py:Stops"]):
        told = lgbench("eval", *arguments).err.partition("go on with:\n")[2].splitlines()[0]
        again = lgbench(*shlex.split(told)[1:])
        assert "RuntimeError: spent" in again.err, "it went on to where the model stops"


@pytest.mark.parametrize(("file", "content"), [(PARTIAL_FILE, b"garbage\n"), (RUN_FILE, b"{")])
def test_a_damaged_run_is_not_said_to_go_on(lgbench: Shell, file: str, content: bytes) -> None:
    command = ("eval", "m.py:Stops", *SHORT, "--batch-size", "1", "--output", "run")
    assert "go on with:" in lgbench(*command).err
    Path("run", file).write_bytes(content)
    done = lgbench(*command, "--resume")
    assert done.status == 1
    assert file in done.err
    assert "go on with" not in done.err
