"""The state of a training that is not a run itself: back bit by bit, and a sentence for each kind of damage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lgbench.training.saving import SideTraining
from lgbench.training.settings import TrainingSettings
from lgbench.training.steps import Optimizers, make_optimizer
from lgbench.util.errors import LgbenchError
from tests.full_disk import full_disk

FIRST = {"steps": 0, "loss": 0.5}
SETTINGS = TrainingSettings(layers=1, heads=1, width=4, hidden=8, steps=8, batch=4, learning_rate=1e-2)


def fresh() -> tuple[nn.Module, Optimizers]:
    """A module whose steps draw random numbers, as dropout does."""
    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    return module, make_optimizer(module, SETTINGS)


def take(module: nn.Module, optimizer: Optimizers, steps: range) -> None:
    for step in steps:
        module(torch.randn(4, 4)).square().sum().backward()
        optimizer.step(SETTINGS, step)


@pytest.fixture(name="state")
def _state(tmp_path: Path) -> SideTraining:
    return SideTraining(tmp_path / "kept" / "side.safetensors", "a plan", advice="Delete it.")


@pytest.fixture(name="saved")
def _saved(state: SideTraining) -> SideTraining:
    module, optimizer = fresh()
    take(module, optimizer, range(3))
    state.save(module, optimizer, {"steps": 3, "loss": 0.1})
    return state


def test_a_training_goes_on_as_if_it_had_not_stopped(saved: SideTraining) -> None:
    whole, optimizer = fresh()
    take(whole, optimizer, range(8))
    pieces, optimizer = fresh()
    torch.manual_seed(99)
    assert saved.load(pieces, optimizer, FIRST) == {"steps": 3, "loss": 0.1}
    take(pieces, optimizer, range(3, 8))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), pieces.parameters(), strict=True))


def test_without_a_file_it_begins(state: SideTraining) -> None:
    assert state.load(*fresh(), FIRST) == FIRST


def test_another_plan_is_refused(saved: SideTraining) -> None:
    with pytest.raises(LgbenchError, match=r"is of another training\. Choose another --output"):
        SideTraining(saved.path, "another plan", advice="Delete it.").load(*fresh(), FIRST)


def drop(name: str) -> Callable[[dict[str, Tensor], dict[str, str]], object]:
    return lambda tensors, metadata: tensors.pop(name)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (drop("optimizer.0.exp_avg"), r"lacks 'optimizer\.0\.exp_avg'. Delete it"),
        (drop("generator"), "no usable generator .* Delete it"),
        (drop("model.0.weight"), "does not fit the module"),
        (lambda tensors, metadata: tensors.update({"optimizer.9.step": torch.ones(())}), "is not a moment"),
        (lambda tensors, metadata: tensors.update({"optimizer.0.step": torch.ones(2)}), r"of shape \(2,\), not \(\)"),
        (lambda tensors, metadata: metadata.pop("progress"), "no state of this version of lgbench. Delete it"),
        (lambda tensors, metadata: metadata.update(progress='{"steps": 3}'), "no state of this version"),
        (lambda tensors, metadata: metadata.update(progress='{"steps": "x", "loss": 1}'), "no state of this version"),
        (lambda tensors, metadata: metadata.clear(), "is of another training"),
    ],
)
def test_damage_is_a_sentence(
    saved: SideTraining, edit: Callable[[dict[str, Tensor], dict[str, str]], object], told: str
) -> None:
    tensors = {name: each.clone() for name, each in load_file(saved.path).items()}
    with safe_open(saved.path, "pt") as file:
        metadata = dict(file.metadata())
    edit(tensors, metadata)
    save_file(tensors, saved.path, metadata)
    with pytest.raises(LgbenchError, match=told):
        saved.load(*fresh(), FIRST)


def test_a_truncated_file_is_a_sentence(saved: SideTraining) -> None:
    saved.path.write_bytes(saved.path.read_bytes()[:-50])
    with pytest.raises(LgbenchError, match=r"is truncated .* Delete it"):
        saved.load(*fresh(), FIRST)


def test_a_full_disk_leaves_the_state_before(saved: SideTraining) -> None:
    before = saved.path.read_bytes()
    module, optimizer = fresh()
    take(module, optimizer, range(4))
    with full_disk(room=200), pytest.raises(LgbenchError, match="Cannot write to"):
        saved.save(module, optimizer, {"steps": 4, "loss": 0.0})
    assert saved.path.read_bytes() == before
    assert [each.name for each in saved.path.parent.iterdir()] == [saved.path.name]
