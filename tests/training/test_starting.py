"""Runs that start from a checkpoint, or from chosen parts of one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from lgbench.models.checkpoint import read_weights
from lgbench.models.tokenizer import PUBLISHED, Vocabulary
from lgbench.training.hooks import Hook, KeepPoints
from lgbench.training.modules import build_module
from lgbench.training.planned import Start, planned_start
from lgbench.training.record import read_training_record
from lgbench.training.spec import RunSpec, difference
from lgbench.training.start import start_from
from lgbench.training.trainer import Training, train
from lgbench.util.errors import LgbenchError
from tests.tiny_training import tiny_plan
from tests.training.test_hooks import assert_same_weights

PLAN = tiny_plan(seed=3)


@pytest.fixture(name="first", scope="module")
def _first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("starting") / "first"
    train(tiny_plan(arm="main_only"), folder)
    return folder


class Initial(Hook):
    """Keeps a copy of the weights before the first step."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.weights: dict[str, Tensor] = {}
        self._stop_at = stop_at

    def start(self, training: Training) -> None:
        self.weights = {name: each.clone() for name, each in training.module.state_dict().items()}

    def step(self, training: Training, loss: Tensor) -> None:
        if training.step == self._stop_at:
            training.stop("asked to")


def starting(first: Path, *parts: str) -> RunSpec:
    return PLAN.model_copy(update={"start": planned_start(str(first), parts)})


def test_a_run_starts_from_all_weights(first: Path, tmp_path: Path) -> None:
    hook = Initial()
    record = train(starting(first), tmp_path, hooks=[hook])
    there = read_weights(first / "checkpoint")
    assert there.keys() == hook.weights.keys()
    assert all(torch.equal(there[name], hook.weights[name]) for name in there)
    saved = json.loads((tmp_path / "training.json").read_text("utf-8"))["plan"]["start"]
    assert saved == {"folder": str(first), "sha256": planned_start(str(first)).sha256, "parts": []}  # type: ignore[union-attr]
    assert record.plan == read_training_record(tmp_path).plan


def test_what_is_not_chosen_is_as_fresh_as_ever(first: Path, tmp_path: Path) -> None:
    hook, fresh = Initial(), Initial()
    train(starting(first, "blocks.*.attention.*", "embedding.weight"), tmp_path / "a", hooks=[hook])
    train(PLAN, tmp_path / "b", hooks=[fresh])
    there = read_weights(first / "checkpoint")
    taken = {name for name in there if ".attention." in name or name == "embedding.weight"}
    assert 0 < len(taken) < len(there)
    for name, weight in hook.weights.items():
        assert torch.equal(weight, there[name] if name in taken else fresh.weights[name]), name


@pytest.mark.parametrize("stop", [2, 5, 8])
def test_a_started_run_is_resumed_without_its_checkpoint(first: Path, tmp_path: Path, stop: int) -> None:
    """Its weights are in the state by then."""
    shutil.copytree(first, tmp_path / "gone")
    plan = starting(tmp_path / "gone", "blocks.*")
    whole = train(plan, tmp_path / "whole")
    train(plan, tmp_path / "pieces", hooks=[Initial(stop)])
    shutil.rmtree(tmp_path / "gone")
    record = train(plan, tmp_path / "pieces", resume=True)
    assert record.curve == whole.curve
    assert_same_weights(tmp_path / "pieces", tmp_path / "whole")


def test_the_start_is_part_of_what_a_run_is(first: Path, tmp_path: Path) -> None:
    train(starting(first), tmp_path)
    shutil.copytree(first, elsewhere := tmp_path.parent / f"{tmp_path.name}-elsewhere")
    assert train(starting(elsewhere), tmp_path, resume=True).finished, "the same weights in another folder"
    with pytest.raises(LgbenchError, match=r"it starts from .*first \(SHA-256 .* there and from fresh weights here"):
        train(PLAN, tmp_path, resume=True)
    assert "blocks.* of" in str(difference(starting(first), starting(first, "blocks.*")))


def test_other_weights_than_planned_are_refused(first: Path, tmp_path: Path) -> None:
    shutil.copytree(first, tmp_path / "copy")
    plan = starting(tmp_path / "copy")
    train(tiny_plan(), tmp_path / "other", hooks=[KeepPoints()])
    shutil.copy(tmp_path / "other" / "checkpoint" / "model.safetensors", tmp_path / "copy" / "checkpoint")
    with pytest.raises(LgbenchError, match=r"starts from other weights than those in .*copy'"):
        train(plan, tmp_path / "run")
    assert planned_start(str(tmp_path / "other" / "points" / "step5")) is not None, "kept weights are a checkpoint"


@pytest.mark.parametrize(
    ("changes", "parts", "message"),
    [
        (("width=32",), (), r"blocks\.0\..* has shape \(16, 16\) there and \(32, 32\) in the module"),
        (("layers=2",), (), r"it has no 'blocks\.1\."),
        (("layers=2",), ("blocks.1.*",), r"--start-parts 'blocks\.1\.\*' fits no parameter in .*, which has: "),
        (("hidden=32",), ("embedding.*", "blocks.*"), r"has shape .* there"),
    ],
)
def test_a_start_that_does_not_fit(
    first: Path, tmp_path: Path, changes: tuple[str, ...], parts: tuple[str, ...], message: str
) -> None:
    start = planned_start(str(first), parts)
    with pytest.raises(LgbenchError, match=message):
        train(tiny_plan(*changes).model_copy(update={"start": start}), tmp_path)
    assert not (tmp_path / "training.json").exists()


def test_parts_of_another_module(first: Path) -> None:
    start = planned_start(str(first), ["blocks.*"])
    assert start is not None
    with pytest.raises(LgbenchError, match=r"the module has no 'blocks\.0\."):
        start_from(start, nn.Linear(2, 2), PUBLISHED)


def test_tables_of_another_vocabulary_are_refused(first: Path) -> None:
    """A vocabulary of as many tokens that mean other text: nothing but the names of the tokens can tell."""
    other = Vocabulary((*PUBLISHED.tokens[:-2], *reversed(PUBLISHED.tokens[-2:])))
    module = build_module(PLAN.settings, None, seed=0, device="cpu")
    start = planned_start(str(first))
    assert start is not None
    with pytest.raises(LgbenchError, match=r"another vocabulary: its embedding\.weight, .* would mean other tokens"):
        start_from(start, module, other)
    before = module.state_dict()["embedding.weight"].clone()
    start_from(start.model_copy(update={"parts": ("blocks.*",)}), module, other)
    assert torch.equal(module.state_dict()["embedding.weight"], before)


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    assert planned_start(None) is None
    with pytest.raises(LgbenchError, match="needs --start FOLDER"):
        planned_start(None, ["blocks.*"])
    with pytest.raises(LgbenchError, match="holds no checkpoint"):
        planned_start(str(tmp_path))
    bundled = planned_start("tiny:transfer")
    assert bundled is not None
    assert Start.model_validate_json(bundled.model_dump_json(), strict=True) == bundled
