"""Runs that are interrupted, go on, meet each other or a full disk."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch  # after the skip

from lgbench.errors import LgbenchError
from lgbench.files import owned_folder, write_atomically
from lgbench.training import state as states
from lgbench.training.record import read_training_record
from lgbench.training.trainer import train
from tests.tiny_training import Interrupted, stop_at, tiny_plan, weights


@pytest.mark.parametrize("step", [5, 10])
def test_an_interrupted_run_resumes_to_the_same_weights(tmp_path: Path, step: int) -> None:
    plan = tiny_plan("steps=23")
    whole = train(plan, tmp_path / "whole")
    with pytest.raises(Interrupted):
        train(plan, tmp_path / "cut", report=stop_at(step))  # type: ignore[arg-type]
    with pytest.raises(LgbenchError, match=r"holds this run after \d+ of 23 steps\. Go on with --resume"):
        train(plan, tmp_path / "cut")
    resumed = train(plan, tmp_path / "cut", resume=True)
    one, two = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert (resumed.curve, resumed.tokens) == (whole.curve, whole.tokens)
    assert train(plan, tmp_path / "cut", resume=True) == resumed, "a finished run is only read"
    with pytest.raises(LgbenchError, match="holds this run, finished"):
        train(plan, tmp_path / "cut")


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


def test_a_full_disk_leaves_the_state_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny_plan("steps=23")
    whole = train(plan, tmp_path / "whole")
    write = write_atomically

    def full(path: Path, content: bytes) -> None:
        if path.name == states.STATE and b'\\"step\\": 10,' in content:
            raise OSError(28, "No space left on device")
        write(path, content)

    monkeypatch.setattr("lgbench.training.state.write_atomically", full)
    with pytest.raises(LgbenchError, match=r"No space left on device.*saved before is intact"):
        train(plan, tmp_path / "cut")
    monkeypatch.setattr("lgbench.training.state.write_atomically", write)
    assert read_training_record(tmp_path / "cut").steps_done == 5
    assert train(plan, tmp_path / "cut", resume=True).curve == whole.curve


def test_a_run_whose_checkpoint_could_not_be_written_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr("lgbench.training.trainer.save_checkpoint", full)
        with pytest.raises(LgbenchError, match="No space left on device"):
            train(tiny_plan(), tmp_path)
    with pytest.raises(
        LgbenchError, match=r"trained, but its folder 'checkpoint' was not written\. Go on with --resume"
    ):
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


def test_workers_may_differ_when_a_run_goes_on(tmp_path: Path) -> None:
    """The examples do not depend on them."""
    plan = tiny_plan("steps=10")
    with pytest.raises(Interrupted):
        train(plan, tmp_path, report=stop_at(5))  # type: ignore[arg-type]
    train(tiny_plan("steps=10", "workers=1"), tmp_path, resume=True)
    with pytest.raises(LgbenchError, match="evaluate_every is 5 there and 6 here"):
        train(tiny_plan("steps=10", "evaluate_every=6"), tmp_path, resume=True)
