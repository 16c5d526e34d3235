"""A run that stops anywhere goes on to the same counts and the same digest."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Literal

import pytest

from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.folder import PARTIAL_FILE
from lgbench.models.builtin import Echo, Oracle
from lgbench.models.loading import load_model
from lgbench.results.schema import Result
from lgbench.util.errors import LgbenchError, ModelError
from lgbench.util.files import LOCK_FILE, owned_folder
from lgbench.util.links import open_own

CELLS = {"tasks": ["reverse", "mqar"], "lengths": [2, 4, 6]}
SIZE = 6 * 256


class FailsAfter(Echo):
    """Echoes until it has made so many replies, then raises; counts what it was asked."""

    def __init__(self, replies: int) -> None:
        self.left = replies
        self.asked = 0

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        if self.left < len(prompts):
            raise RuntimeError("spent")
        self.left -= len(prompts)
        self.asked += len(prompts)
        return super().predict(prompts, task)


def run(model: object, folder: Path, **options: object) -> Result:
    return evaluate(model, output=folder, **(CELLS | options))  # type: ignore[arg-type]


def counts(result: Result) -> list[object]:
    return [result.replies_sha256, *result.cells]


@pytest.fixture(scope="module")
def undisturbed() -> list[object]:
    return counts(evaluate(FailsAfter(10**9), **CELLS))  # type: ignore[arg-type]


def interrupted(folder: Path, replies: int) -> None:
    with pytest.raises(ModelError, match="spent"):
        run(FailsAfter(replies), folder, batch_size=50)


@pytest.mark.parametrize("replies", [50, 256, 300, 1000, SIZE])
def test_a_failed_run_goes_on(replies: int, tmp_path: Path, undisturbed: list[object]) -> None:
    interrupted(tmp_path, replies)
    model = FailsAfter(10**9)
    result = run(model, tmp_path, batch_size=50, resume=True)
    assert counts(result) == undisturbed
    kept = min(replies, SIZE) // 50 * 50
    assert model.asked <= SIZE - kept + 256 + 2 * 2 * 16
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replies.jsonl.gz", "result.json"]


@pytest.mark.parametrize("seed", range(8))
def test_a_torn_line_is_dropped(seed: int, tmp_path: Path, undisturbed: list[object]) -> None:
    interrupted(tmp_path, 1000)
    partial = tmp_path / PARTIAL_FILE
    content = partial.read_bytes()
    partial.write_bytes(content[: random.Random(seed).randrange(len(content))])
    assert counts(run(FailsAfter(10**9), tmp_path, resume=True)) == undisturbed


def test_resumed_replies_are_not_asked_again(tmp_path: Path) -> None:
    interrupted(tmp_path, 1000)
    kept = len((tmp_path / PARTIAL_FILE).read_bytes().splitlines())
    model = FailsAfter(10**9)
    run(model, tmp_path, resume=True)
    assert model.asked == SIZE - kept + 2 * 2 * 16


def slow_model(folder: Path, *, seconds: float) -> Path:
    """A file with `Slow`, an echo that takes so long for each batch."""
    script = folder / "slow.py"
    script.write_text(
        "import time\n"
        "from lgbench.models.builtin import Echo\n"
        "class Slow(Echo):\n"
        "    def predict(self, prompts, task):\n"
        f"        time.sleep({seconds})\n"
        "        return super().predict(prompts, task)\n",
        encoding="utf-8",
    )
    return script


@pytest.mark.parametrize("kill_after", [0.05, 0.2, 0.5])
@pytest.mark.slow
def test_a_killed_process_goes_on(kill_after: float, tmp_path: Path, undisturbed: list[object]) -> None:
    """SIGKILL at some moment: whatever it was, the run can be resumed. The moment decides nothing that is asserted."""
    script = slow_model(tmp_path, seconds=0.01)
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "lgbench", "eval", f"{script}:Slow", "--output", str(folder), "--batch-size", "8"]
    command += [f"--task={task}" for task in ("reverse", "mqar")] + [f"--length={length}" for length in (2, 4, 6)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not (folder / PARTIAL_FILE).exists() and process.poll() is None:
        time.sleep(0.01)
    time.sleep(kill_after)
    process.kill()
    process.wait()
    done = subprocess.run([*command, "--resume", "--quiet"], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    result = Result.model_validate_json((folder / "result.json").read_text("utf-8"))
    assert counts(result) == undisturbed


def test_ctrl_c_keeps_every_reply_and_says_how_to_go_on(tmp_path: Path) -> None:
    script = slow_model(tmp_path, seconds=0.02)
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "lgbench", "eval", f"{script}:Slow", "--output", str(folder), "--batch-size", "1"],
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    partial = folder / PARTIAL_FILE
    while not (partial.exists() and partial.stat().st_size) and process.poll() is None:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert all(json.loads(line)["id"] for line in partial.read_text("utf-8").splitlines())


def test_a_finished_run_is_shown_again_without_asking(tmp_path: Path) -> None:
    first = run(Oracle(), tmp_path)

    class Silent(Oracle):
        __qualname__ = "Oracle"

        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            raise AssertionError

    Silent.__module__ = Oracle.__module__
    assert run(Silent(), tmp_path, resume=True) == first


@pytest.mark.slow
def test_a_finished_run_is_not_taken_for_that_of_a_changed_model(tmp_path: Path) -> None:
    source = tmp_path / "model.py"
    source.write_text("from lgbench.models.builtin import Echo as Model\n", encoding="utf-8")
    run(load_model(f"{source}:Model"), tmp_path / "run")
    run(load_model(f"{source}:Model"), tmp_path / "run", resume=True)
    source.write_text("from lgbench.models.builtin import Oracle as Model\n", encoding="utf-8")
    with pytest.raises(LgbenchError, match="the model's file has changed since"):
        run(load_model(f"{source}:Model"), tmp_path / "run", resume=True)


def test_without_resume_a_run_is_left_alone(tmp_path: Path) -> None:
    run(Oracle(), tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    with pytest.raises(LgbenchError, match=r"already holds this run, finished. Add --resume to show it"):
        run(Oracle(), tmp_path)
    assert (tmp_path / "result.json").read_bytes() == before


def test_replies_that_nothing_describes_are_left_alone(tmp_path: Path) -> None:
    interrupted(tmp_path, 300)
    (tmp_path / "run.json").unlink()
    before = (tmp_path / PARTIAL_FILE).read_bytes()
    for resume in (True, False):
        with pytest.raises(LgbenchError, match=r"holds replies of an unfinished run, and no run.json"):
            run(Echo(), tmp_path, resume=resume)
    assert (tmp_path / PARTIAL_FILE).read_bytes() == before


def test_without_resume_an_unfinished_run_is_left_alone(tmp_path: Path) -> None:
    interrupted(tmp_path, 300)
    before = (tmp_path / PARTIAL_FILE).read_bytes()
    with pytest.raises(LgbenchError, match=r"already holds this run, unfinished. Add --resume to continue it"):
        run(FailsAfter(10**9), tmp_path)
    assert (tmp_path / PARTIAL_FILE).read_bytes() == before


@pytest.mark.parametrize(
    ("options", "difference"),
    [({"seed": 1}, "seed: None, now 1"), ({"limit": 9}, "limit"), ({"lengths": [2]}, "6 chosen")],
)
def test_another_run_is_refused(options: dict[str, object], difference: str, tmp_path: Path) -> None:
    interrupted(tmp_path, 300)
    with pytest.raises(LgbenchError, match=f"holds another unfinished run .*{difference}"):
        run(FailsAfter(10**9), tmp_path, resume=True, **options)


def test_another_model_is_refused(tmp_path: Path) -> None:
    run(Oracle(), tmp_path)
    with pytest.raises(LgbenchError, match=r"holds another finished run .*Oracle.*Echo"):
        run(Echo(), tmp_path, resume=True)


def test_a_model_that_never_replied_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    interrupted(folder, 0)
    assert not folder.exists()


def test_two_processes_cannot_share_a_folder(tmp_path: Path) -> None:
    with owned_folder(tmp_path), pytest.raises(LgbenchError, match="Another process"):
        run(Oracle(), tmp_path)


def test_a_file_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".notes.tmp").write_text("mine", encoding="utf-8")
    (tmp_path / ".replies.jsonl.gz.lgbench-tmp").write_text("left by a process that was killed", encoding="utf-8")
    evaluate(Echo(), tasks="reverse", lengths=[2], output=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".notes.tmp", "replies.jsonl.gz", "result.json"]


def test_a_disk_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    evaluate(Echo(), tasks="reverse", lengths=[2], output=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["replies.jsonl.gz", "result.json"]


def test_the_lock_is_closed_where_open_files_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[IO[bytes]] = []

    def opening(path: Path, mode: Literal["ab"]) -> IO[bytes]:
        opened.append(open_own(path, mode))
        return opened[-1]

    def removing(path: Path, *, missing_ok: bool) -> None:
        assert [file.closed for file in opened] == [True]
        os.remove(path)  # noqa: PTH107  # that is what is replaced

    monkeypatch.setattr("lgbench.util.files.sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr("lgbench.util.files.open_own", opening)
    monkeypatch.setattr(Path, "unlink", removing)
    with owned_folder(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK_FILE).exists()
    assert not (tmp_path / "run").exists()


def test_a_damaged_line_in_the_middle_is_told(tmp_path: Path) -> None:
    interrupted(tmp_path, 300)
    partial = tmp_path / PARTIAL_FILE
    lines = partial.read_bytes().splitlines(keepends=True)
    lines[2] = b'{"id": 3}\n'
    partial.write_bytes(b"".join(lines))
    with pytest.raises(LgbenchError, match=r"Line 3 of .* is damaged"):
        run(FailsAfter(10**9), tmp_path, resume=True)


@pytest.mark.parametrize(
    "damage",
    [
        {"seconds": None},
        {"seconds": "1"},
        {"seconds": -5},
        {"seconds": float("1e308") * 10},
        {"seconds": True},
        {"prompt_tokens": float("1e308") * 10},
        {"completion_tokens": -1},
        {"reply": "a" * 5000},
    ],
)
def test_a_line_that_no_run_could_have_written_is_told(damage: dict[str, object], tmp_path: Path) -> None:
    interrupted(tmp_path, 300)
    partial = tmp_path / PARTIAL_FILE
    lines = partial.read_text("utf-8").splitlines(keepends=True)
    lines[2] = json.dumps(json.loads(lines[2]) | damage).replace("Infinity", "1e999") + "\n"
    partial.write_text("".join(lines), encoding="utf-8")
    with pytest.raises(LgbenchError, match=rf"Line 3 of .* is damaged: .*{next(iter(damage))}"):
        run(FailsAfter(10**9), tmp_path, resume=True)


def test_a_full_disk_is_told_and_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted(tmp_path, 300)
    kept = (tmp_path / PARTIAL_FILE).read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lgbench.evaluation.folder.RunFolder.append", full)
    with pytest.raises(LgbenchError, match="No space left on device"):
        run(FailsAfter(10**9), tmp_path, resume=True)
    assert (tmp_path / PARTIAL_FILE).read_bytes() == kept


def test_a_file_in_the_folders_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("", encoding="utf-8")
    with pytest.raises(LgbenchError, match="is a file, not a folder"):
        run(Oracle(), tmp_path / "run")
