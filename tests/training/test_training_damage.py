"""Edited and damaged files of a training run, and what asks for more than there is: each is told in a sentence."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lgbench.models import checkpoint as checkpoints
from lgbench.models.checkpoint import load_module
from lgbench.training.record import RECORD, read_training_record
from lgbench.training.spec import RunSpec
from lgbench.training.state import STATE
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from lgbench.util.records import InvalidFileError
from tests.shell import Shell
from tests.tiny_training import Interrupted, stop_at, tiny_plan

PLAN = tiny_plan()


@pytest.fixture(name="trained", scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(PLAN, folder)
    return folder


@pytest.fixture(name="stopped", scope="module")
def _stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        train(PLAN, folder, report=stop_at(5))  # type: ignore[arg-type]
    return folder


@pytest.mark.parametrize(
    ("left", "plan", "told"),
    [
        (["training.json"], tiny_plan(seed=7), "holds another run (seed is 0 there and 7 here)"),
        (["training.json"], PLAN, "but its checkpoint lacks model.safetensors and checkpoint.json"),
        (["checkpoint"], PLAN, "holds a checkpoint, but no training.json that says of which run"),
    ],
)
def test_what_is_left_of_a_run_is_not_overwritten(
    trained: Path, tmp_path: Path, left: list[str], plan: RunSpec, told: str
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    for name in {"training.json", "checkpoint"}.difference(left):
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(LgbenchError, match=re.escape(told)):
        train(plan, folder, resume=True)
    with pytest.raises(LgbenchError, match=r"holds (another|this) run|holds a checkpoint"):
        train(plan, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_run_whose_state_is_missing_does_not_begin_anew(stopped: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    (folder / "state.safetensors").unlink()
    with pytest.raises(LgbenchError, match=r"after 5 of 12 steps, but not the state\.safetensors to go on from"):
        train(PLAN, folder, resume=True)
    assert read_training_record(folder).steps_done == 5


@pytest.mark.parametrize("name", [checkpoints.WEIGHTS, checkpoints.RECORD])
def test_a_run_without_its_checkpoint_is_not_said_to_be_trained(trained: Path, tmp_path: Path, name: str) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    (folder / "checkpoint" / name).unlink()
    with pytest.raises(LgbenchError, match=f"lacks {name}"):
        train(PLAN, folder, resume=True)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ({"seed": -1}, "seed: "),
        ({"seed": 2**70}, "seed: "),
        ({"steps": 0}, "steps: "),
        ({"architecture": None}, "architecture and build are both null"),
        ({"build": "mine.py:build"}, "architecture and build are both given"),
        ({"architecture": {"width": 10**9}}, "at most 100,000"),
        ({"architecture": {"heads": 0}}, r"checkpoint\.json: architecture: A reference model has at least 1 layer"),
        ({"architecture": {"theta": 0.0}}, "theta is a number above 0"),
        ({"architecture": {"theta": -1.0}}, "theta is a number above 0"),
    ],
)
def test_an_edited_checkpoint_is_refused(trained: Path, tmp_path: Path, edit: dict[str, Any], told: str) -> None:
    folder = Path(shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint"))
    path = folder / checkpoints.RECORD
    record = json.loads(path.read_text("utf-8"))
    if edit.get("architecture"):
        edit = edit | {"architecture": record["architecture"] | edit["architecture"]}
    path.write_text(json.dumps(record | edit), encoding="utf-8")
    with pytest.raises(LgbenchError, match=told):
        load_module(folder)


def test_weights_that_are_no_numbers_are_refused(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained / "checkpoint", tmp_path / "checkpoint"))
    weights = load_file(folder / checkpoints.WEIGHTS)
    weights["norm.weight"][0] = torch.nan
    save_file(weights, folder / checkpoints.WEIGHTS)
    with pytest.raises(LgbenchError, match=r"are damaged: norm\.weight holds what is not a number"):
        load_module(folder)


@pytest.mark.parametrize("edit", [lambda correct: correct.clear(), lambda correct: correct["capitalize"].pop("2")])
def test_a_record_whose_curve_lacks_points_is_refused(
    trained: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], object]
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    record = json.loads((folder / RECORD).read_text("utf-8"))
    edit(record["curve"][-1]["correct"])
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"the point at step \d+ is not of every task and length of the run"):
        read_training_record(folder)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda plan: plan.update(suite="mini-v9"), "plan.suite: 'mini-v9' is not a suite. Did you mean 'mini-v"),
        (lambda plan: plan.update(group="add"), "plan.group: 'add' is not a group."),
        (lambda plan: plan.update(arm="nope"), "plan.arm: 'nope' is not a trained arm. Valid: main_only, transfer"),
        (lambda plan: plan.update(arm="open"), "plan.arm: 'open' is not a trained arm."),
        (lambda plan: plan["parts"][0].update(task="revers"), "plan: 'revers' is not a task. Did you mean 'reverse'"),
        (lambda plan: plan["parts"][0].update(share="a third"), "plan.parts[0].share: "),
        (lambda plan: plan["parts"][0].update(share="4/3"), "plan.parts[0].share: "),
        (lambda plan: plan["parts"][0].update(share="0"), "plan.parts[0].share: "),
        (lambda plan: plan["parts"][0].update(share="1/1000000007"), "plan.parts[0].share: must have a denominator"),
        (lambda plan: plan["parts"][0].update(max_length=10**30), "plan.parts[0].max_length: "),
        (lambda plan: plan["settings"].update(batch=10**30), "plan.settings.batch: "),
        (lambda plan: plan["settings"].update(workers=10**9), "plan.settings.workers: "),
        (lambda plan: plan["settings"].update(heads=3), "plan.settings: A width of 16 does not divide into 3 heads"),
        (lambda plan: plan["settings"].update(warmup=0.7), "plan.settings: Warm-up (0.7) and decay (0.4)"),
    ],
)
def test_an_edited_plan_is_refused_with_its_field(
    trained: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], object], told: str
) -> None:
    with pytest.raises(InvalidFileError) as caught:
        read_training_record(_edited(trained, tmp_path, edit))
    assert str(caught.value).startswith(f"{tmp_path / 'run' / RECORD}: {told}")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda record: record.update(curve=[]), "the curve is not that of its plan"),
        (lambda record: record["curve"].reverse(), "the curve is not that of its plan"),
        (lambda record: record["curve"].pop(0), "the curve is not that of its plan"),
        (lambda record: record.update(steps_done=5), "the curve is not that of its plan"),
        (lambda record: record.update(steps_done=20), "20 of 12 steps are done"),
        (lambda record: record["curve"][0]["correct"]["reverse"].update({"2": 65}), "curve[0].correct.reverse.2: "),
        (lambda record: record["curve"][0].update(loss="NaN"), "curve[0].loss: "),
        (lambda record: record.update(tokens=-5), "tokens: "),
        (lambda record: record.update(seconds=-1.0), "seconds: "),
        (lambda record: record["machine"].update(threads=-5), "machine.threads: "),
    ],
)
def test_an_edited_record_is_refused(
    trained: Path, tmp_path: Path, edit: Callable[[dict[str, Any]], object], told: str
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    record = json.loads((folder / RECORD).read_text("utf-8"))
    edit(record)
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InvalidFileError, match=re.escape(told)):
        read_training_record(folder)


def test_every_problem_of_a_plan_is_told(trained: Path, tmp_path: Path) -> None:
    wrong = {"suite": "mini-v9", "arm": "nope", "seed": -1}
    with pytest.raises(InvalidFileError) as caught:
        read_training_record(_edited(trained, tmp_path, lambda plan: plan.update(wrong)))
    assert [problem.field for problem in caught.value.problems] == ["plan.suite", "plan.arm", "plan.seed"]


def _edited(trained: Path, to: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    folder = Path(shutil.copytree(trained, to / "run"))
    record = json.loads((folder / RECORD).read_text("utf-8"))
    edit(record["plan"])
    (folder / RECORD).write_text(json.dumps(record), encoding="utf-8")
    return folder


def _without_generator(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    del tensors["generator"]


def _short_generator(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    tensors["generator"] = tensors["generator"][:5].clone()


def _misshapen(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    tensors["optimizer.0.exp_avg"] = torch.zeros(3)


def _of_nothing(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    tensors["optimizer.999.exp_avg"] = torch.zeros(3)


def _of_a_number_too_long_to_read(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    tensors[f"optimizer.{'9' * 5000}.exp_avg"] = torch.zeros(3)


def _without_a_moment(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    del tensors["optimizer.0.exp_avg"]


def _of_another_type(tensors: dict[str, Tensor], _: dict[str, Any]) -> None:
    tensors["optimizer.0.exp_avg"] = tensors["optimizer.0.exp_avg"].half()


def _without_points(_: dict[str, Tensor], record: dict[str, Any]) -> None:
    record["curve"] = []


def _too_far(_: dict[str, Tensor], record: dict[str, Any]) -> None:
    record["steps_done"] = 13


def _of_another_suite(_: dict[str, Tensor], record: dict[str, Any]) -> None:
    record["plan"]["suite"] = "mini-v9"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (_without_generator, "no usable generator"),
        (_short_generator, "no usable generator"),
        (_misshapen, r"'optimizer.0.exp_avg' of shape \(3,\)"),
        (_of_nothing, "which is not a moment of a parameter"),
        (_of_a_number_too_long_to_read, "which is not a moment of a parameter"),
        (_without_a_moment, "lacks 'optimizer.0.exp_avg'"),
        (_of_another_type, r"'optimizer.0.exp_avg' as torch\.float16, not torch\.float32"),
        (_without_points, r"the curve is not that of its plan.* the last at or before the 5 that are done\)"),
        (_too_far, "13 of 12 steps are done"),
        (_of_another_suite, "is not a state of this version of lgbench"),
    ],
)
def test_a_damaged_state_is_refused(
    stopped: Path, tmp_path: Path, damage: Callable[[dict[str, Tensor], dict[str, Any]], None], told: str
) -> None:
    folder = Path(shutil.copytree(stopped, tmp_path / "run"))
    with safe_open(folder / STATE, "pt") as file:
        record = json.loads(file.metadata()["record"])
    tensors = {name: tensor.clone() for name, tensor in load_file(folder / STATE).items()}
    damage(tensors, record)
    save_file(tensors, folder / STATE, {"record": json.dumps(record)})
    with pytest.raises(LgbenchError, match=told):
        train(PLAN, folder, resume=True)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("not enough memory: you tried to allocate")])
def test_a_model_without_room_is_told(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object) -> None:
        raise error

    monkeypatch.setattr(checkpoints, "Transformer", no_room)
    with pytest.raises(LgbenchError, match=r"cannot be built here: .*memory"):
        train(PLAN, tmp_path)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--seed", str(2**63)], "Invalid value for '--seed'"),
        (["--model", "b\udcff.py:build"], "is not UTF-8"),
        (["--set", "width=100000000"], "at most 100,000"),
        (["--set", "heads=3"], "A width of 128 does not divide into 3 heads of even size. Choose a multiple of 6, or"),
        (
            ["--set", "head_size=7"],
            "A head's size is an even number from 2 on, and with 4 heads at most 25,000, not 7.",
        ),
        (["--set", "head_size=50000"], "with 4 heads at most 25,000, not 50000."),
        (["--set", "head_size=0"], "--set head_size=0: Input should be greater than or equal to 1"),
        (["--set", "warmup=0.7"], "Warm-up (0.7) and decay (0.4) are shares of the steps: together at most 1."),
    ],
)
def test_train_refuses_what_cannot_be(lgbench: Shell, options: list[str], told: str) -> None:
    done = lgbench("train", "copy-mqar", "transfer", *options)
    assert done.status in (1, 2)
    assert told in done.err


@pytest.mark.parametrize(
    "file",
    [RECORD, STATE, ".lock", "checkpoint", "checkpoint/model.safetensors", "checkpoint/checkpoint.json", "model"],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_no_file_of_a_run_is_written_through_a_link(file: str, is_there: bool, stopped: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(stopped, tmp_path / "run"))
    mine, link = tmp_path / "mine", run / file
    if is_there:
        mine.mkdir() if file in ("checkpoint", "model") else mine.write_bytes(b"years of work")
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(mine)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(LgbenchError, match=f"{file}' is a link, and lgbench writes through none"):
        train(PLAN, run, resume=True)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
