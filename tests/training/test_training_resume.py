"""Runs that are interrupted, go on, meet each other or a full disk."""

from __future__ import annotations

import errno
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch  # after the skip

from lgbench.training import state as states
from lgbench.training import trainer
from lgbench.training.record import read_training_record
from lgbench.training.steps import take_step
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from lgbench.util.files import TEMPORARY, owned_folder, write_atomically
from tests.tiny_training import Interrupted, stop_at, tiny_plan, weights

PLAN = tiny_plan("steps=23")


@pytest.fixture(name="whole", scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `PLAN`, undisturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "whole"
    train(PLAN, folder)
    return folder


def assert_same_run(whole: Path, pieces: Path) -> None:
    """Two finished runs have the same weights, bit by bit, the same curve, and nothing else is left of them."""
    one, two = weights(whole), weights(pieces)
    assert all(torch.equal(one[name], two[name]) for name in one)
    first, second = read_training_record(whole), read_training_record(pieces)
    assert (second.curve, second.tokens, second.target_tokens) == (first.curve, first.tokens, first.target_tokens)
    assert sorted(path.name for path in pieces.rglob("*")) == sorted(path.name for path in whole.rglob("*"))


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file in a run's folder but its lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("step", [5, 10])
def test_an_interrupted_run_resumes_to_the_same_weights(whole: Path, tmp_path: Path, step: int) -> None:
    with pytest.raises(Interrupted):
        train(PLAN, tmp_path, report=stop_at(step))  # type: ignore[arg-type]
    with pytest.raises(LgbenchError, match=r"holds this run after \d+ of 23 steps\. Go on with --resume"):
        train(PLAN, tmp_path)
    resumed = train(PLAN, tmp_path, resume=True)
    assert_same_run(whole, tmp_path)
    assert train(PLAN, tmp_path, resume=True) == resumed, "a finished run is only read"
    with pytest.raises(LgbenchError, match="holds this run, already trained"):
        train(PLAN, tmp_path)


def test_a_packed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    plan = tiny_plan("packed=true", "length_chunks=4", "steps=13")
    train(plan, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(plan, tmp_path / "pieces", report=stop_at(10))  # type: ignore[arg-type]
    assert train(plan, tmp_path / "pieces", resume=True).plan.settings.packed
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


@pytest.mark.parametrize("step", [1, 3, 7, 22])
def test_a_run_may_end_at_steps_that_save_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    take = take_step

    def cut(*arguments: Any, **options: Any) -> torch.Tensor:
        if options["step"] == step:
            raise Interrupted
        return take(*arguments, **options)

    monkeypatch.setattr(trainer, "take_step", cut)
    with pytest.raises(Interrupted):
        train(PLAN, tmp_path)
    monkeypatch.undo()
    train(PLAN, tmp_path, resume=True)
    assert_same_run(whole, tmp_path)


def test_a_run_may_end_after_any_file_it_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the state and `training.json`, and between weights, their record and the removal of the state."""
    plan = tiny_plan("steps=7")
    written: list[str] = []
    last = 0

    def write(path: Path, content: bytes) -> None:
        write_atomically(path, content)
        written.append(path.name)
        if len(written) == last:
            raise Interrupted

    for module in ("lgbench.training.state", "lgbench.models.checkpoint", "lgbench.util.records"):
        monkeypatch.setattr(f"{module}.write_atomically", write)
    train(plan, tmp_path / "whole")
    assert written == [*(states.STATE, "training.json") * 2, "model.safetensors", "checkpoint.json"]
    for last in range(1, len(written) + 1):
        written.clear()
        with pytest.raises(Interrupted):
            train(plan, tmp_path / str(last))
        train(plan, tmp_path / str(last), resume=True)
        assert_same_run(tmp_path / "whole", tmp_path / str(last))


# Never ends by itself, so that whoever kills it is not late.
_ENDLESS = """
import sys, time
from pathlib import Path
from lgbench.training import trainer
from tests.tiny_training import tiny_plan
take = trainer.take_step

def slowly(*arguments, **options):
    time.sleep(0.02 if options["step"] < 22 else 600)
    return take(*arguments, **options)

trainer.take_step = slowly
trainer.train(tiny_plan("steps=23"), Path(sys.argv[1]))
"""


def test_a_run_may_be_killed_at_any_moment(whole: Path, tmp_path: Path) -> None:
    moment = random.random() / 2
    process = subprocess.Popen([sys.executable, "-c", _ENDLESS, str(tmp_path)], cwd=Path(__file__).parents[2])
    try:
        while process.poll() is None and not (tmp_path / states.STATE).exists():
            time.sleep(0.005)
        time.sleep(moment)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL, f"killed {moment} s after the first state"
    train(PLAN, tmp_path, resume=True)
    assert_same_run(whole, tmp_path)


def test_what_a_killed_process_had_not_written_whole_is_removed(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        train(PLAN, tmp_path, report=stop_at(23))  # type: ignore[arg-type]
    (tmp_path / "checkpoint").mkdir()
    for name in (f".state.safetensors.abc{TEMPORARY}", f"checkpoint/.model.safetensors.abc{TEMPORARY}"):
        (tmp_path / name).write_bytes(b"half")
    train(PLAN, tmp_path, resume=True)
    assert_same_run(whole, tmp_path)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    train(tiny_plan(), tmp_path)
    with pytest.raises(LgbenchError, match=r"holds another run \(seed is 0 there and 1 here\)"):
        train(tiny_plan(seed=1), tmp_path, resume=True)
    with pytest.raises(LgbenchError, match=r"holds another run \(steps is 12 there and 13 here\)"):
        train(tiny_plan("steps=13"), tmp_path, resume=True)


def _hold(folder: str, held: object, release: object) -> None:
    with owned_folder(Path(folder)):
        held.set()  # type: ignore[attr-defined]
        release.wait(30)  # type: ignore[attr-defined]


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(str(tmp_path), held, release))
    other.start()
    try:
        assert held.wait(30)
        with pytest.raises(LgbenchError, match="Another process is writing"):
            train(tiny_plan(), tmp_path)
    finally:
        release.set()
        other.join(30)


@pytest.mark.parametrize(
    ("number", "done", "sentence"),
    [(3, 5, "saved before is intact"), (11, 23, "What it holds already is kept")],
    ids=["second state", "weights"],
)
def test_a_full_disk_leaves_what_was_written_before(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, done: int, sentence: str
) -> None:
    """Full when the bytes of file `number` are written, before they are kept for certain."""
    sync, calls = os.fsync, itertools.count(1)
    kept: dict[str, bytes] = {}

    def full(descriptor: int) -> None:
        if next(calls) == number:
            assert os.fstat(descriptor).st_size > 0
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(descriptor)

    def keep(_: trainer.Progress) -> None:
        kept.update(contents(tmp_path))

    monkeypatch.setattr("lgbench.util.files.os.fsync", full)
    with pytest.raises(LgbenchError, match=f"No space left on device.*{sentence}"):
        train(PLAN, tmp_path, report=keep)
    monkeypatch.undo()
    assert contents(tmp_path) == kept
    assert read_training_record(tmp_path).steps_done == done
    train(PLAN, tmp_path, resume=True)
    assert_same_run(whole, tmp_path)


def test_a_run_whose_checkpoint_could_not_be_written_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("lgbench.training.trainer.save_checkpoint", full)
        with pytest.raises(LgbenchError, match="No space left on device"):
            train(tiny_plan(), tmp_path)
    with pytest.raises(LgbenchError, match=r"after 12 of 12 steps\. Go on with --resume"):
        train(tiny_plan(), tmp_path)
    assert train(tiny_plan(), tmp_path, resume=True).finished
    assert weights(tmp_path)


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    plan = tiny_plan("steps=23")
    with pytest.raises(Interrupted):
        train(plan, tmp_path, report=stop_at(5))  # type: ignore[arg-type]
    state = tmp_path / states.STATE
    state.write_bytes(state.read_bytes()[:-10])
    with pytest.raises(LgbenchError, match="truncated"):
        train(plan, tmp_path, resume=True)


def test_workers_may_differ_when_a_run_goes_on(whole: Path, tmp_path: Path) -> None:
    """The examples do not depend on them."""
    with pytest.raises(Interrupted):
        train(PLAN, tmp_path, report=stop_at(5))  # type: ignore[arg-type]
    train(tiny_plan("steps=23", "workers=1"), tmp_path, resume=True)
    assert_same_run(whole, tmp_path)
    with pytest.raises(LgbenchError, match="evaluate_every is 5 there and 6 here"):
        train(tiny_plan("steps=23", "evaluate_every=6"), tmp_path, resume=True)
