"""The folders that `lgbench eval` chooses, and the command it names when a run stops."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path

import pytest

from lgbench.cli._new_run_folder import new_run_folder
from lgbench.evaluation.folder import PARTIAL_FILE, REPLIES_FILE, RESULT_FILE, RUN_FILE
from tests.shell import Shell

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
def lgbench_with_files(lgbench: Shell, tmp_path: Path) -> Shell:
    (tmp_path / "m.py").write_text(MODEL.format(long=LONG), encoding="utf-8")
    return lgbench


def test_two_runs_that_begin_together_choose_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with contextlib.ExitStack() as stack:
        chosen = [stack.enter_context(new_run_folder("echo", "mini-v1")) for _ in range(2)]
        assert [folder.name for folder in chosen] == ["echo-mini-v1-1", "echo-mini-v1-2"]
    assert list(tmp_path.iterdir()) == [], "nothing was written to them"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which nobody makes another")
def test_a_folder_that_cannot_be_made_is_told(lgbench: Shell, tmp_path: Path) -> None:
    (tmp_path / "runs").symlink_to("/proc")
    done = lgbench("eval", "echo", *SHORT, "-q")
    told = f"Cannot write to {str(tmp_path / 'runs')!r}: No such file or directory. Choose an --output."
    assert (done.status, done.err) == (1, f"Error: {told}\n")


@pytest.mark.slow
def test_a_failing_start_leaves_no_folder(lgbench: Shell, tmp_path: Path) -> None:
    told = lgbench("eval", "m.py:Broken", *SHORT).err
    assert "broken" in told
    assert "will be in" not in told
    assert not (tmp_path / "runs").exists()
    assert f"will be in {Path('runs')}" in lgbench("eval", "echo", *SHORT).err


@pytest.mark.slow
def test_a_long_name_is_cut(lgbench: Shell, tmp_path: Path) -> None:
    done = lgbench("eval", f"m.py:A{LONG}", *SHORT, "-q")
    assert done.status == 0, done.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert len(folder.name) == 150 + len("-1")


@pytest.mark.slow
def test_the_command_that_goes_on_is_one(lgbench: Shell) -> None:
    """Also where MODEL follows a `--`, behind which nothing is an option."""
    for arguments in (["m.py:Stops", *SHORT], [*SHORT, "--", "m.py:Stops"]):
        told = lgbench("eval", *arguments).err.partition("resume with:\n")[2].splitlines()[0]
        again = lgbench(*shlex.split(told)[1:])
        assert "RuntimeError: spent" in again.err, "it went on to where the model stops"


@pytest.mark.parametrize(("file", "content"), [(PARTIAL_FILE, b"garbage\n"), (RUN_FILE, b"{")])
@pytest.mark.slow
def test_a_damaged_run_is_not_said_to_go_on(lgbench: Shell, file: str, content: bytes) -> None:
    command = ("eval", "m.py:Stops", *SHORT, "--batch-size", "1", "--output", "run")
    assert "resume with:" in lgbench(*command).err
    Path("run", file).write_bytes(content)
    done = lgbench(*command, "--resume")
    assert done.status == 1
    assert file in done.err
    assert "resume with" not in done.err


ECHO = ("eval", "echo", "--task", "reverse", "--length", "2", "--limit", "2", "-q", "--output")


@pytest.mark.parametrize("file", [RESULT_FILE, RUN_FILE, PARTIAL_FILE, REPLIES_FILE, ".lock"])
@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_no_file_of_a_run_is_written_through_a_link(
    lgbench: Shell, tmp_path: Path, file: str, is_there: bool, resume: tuple[str, ...]
) -> None:
    (run := tmp_path / "run").mkdir()
    mine = tmp_path / "mine"
    if is_there:
        mine.write_bytes(b"")
    (run / file).symlink_to(mine)
    done = lgbench(*ECHO, "run", *resume)
    assert done.status == 1
    assert f"{str(run / file)!r} is a link, and lgbench writes through none." in done.err
    assert list(run.iterdir()) == [run / file]
    assert (mine.read_bytes() == b"") if is_there else not mine.exists()


@pytest.mark.slow
def test_a_run_goes_on_only_in_files_of_its_own(lgbench: Shell, tmp_path: Path) -> None:
    command = ("eval", "m.py:Stops", *SHORT, "--batch-size", "1", "--output", "run")
    assert lgbench(*command).status == 1
    partial = tmp_path / "run" / PARTIAL_FILE
    kept = partial.read_bytes()
    (tmp_path / "second").hardlink_to(partial)
    done = lgbench(*command, "--resume")
    assert "a file with a second name elsewhere" in done.err
    assert partial.read_bytes() == kept
    (tmp_path / "second").unlink()
    assert "RuntimeError: spent" in lgbench(*command, "--resume").err


def test_an_output_may_lie_behind_a_link_and_be_none(lgbench: Shell, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "runs").symlink_to("disk")
    assert lgbench(*ECHO, "runs/mine").status == 0
    assert (tmp_path / "disk" / "mine" / RESULT_FILE).is_file()
    assert "runs' is a link" in lgbench(*ECHO, "runs").err
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["mine"]


@pytest.mark.parametrize(
    ("command", "link"),
    [
        (("data", "export", "--task", "mqar", "--output", "link"), "link"),
        (("export", "lm-eval", "link", "--task", "mqar"), "link"),
        (("export", "eee", "run", "link"), "link"),
        (("demo", "--output", "link", "-q"), "link"),
        (("demo", "--output", "out", "-q"), "out/main_only"),
        (("reproduce", "--output", "link"), "link"),
    ],
)
def test_no_command_writes_through_a_link(lgbench: Shell, tmp_path: Path, command: tuple[str, ...], link: str) -> None:
    assert lgbench(*ECHO, "run").status == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(mine)
    done = lgbench(*command)
    assert done.status == 1
    assert f"{link}' is a link" in done.err
    assert list(mine.iterdir()) == []
