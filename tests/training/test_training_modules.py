"""A user's module in the place of the reference model."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from torch import Tensor, nn

from lgbench.models.checkpoint import load_module
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.modules import build_module, check_module
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError, ModelError
from lgbench.util.files import owned_folder
from tests.tiny_training import Interrupted, stop_at, tiny_plan


def embedding(size: int, outputs: int) -> nn.Module:
    return nn.Embedding(size, outputs)


class _Integers(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, len(PUBLISHED), dtype=torch.int64)


class _Tuple(nn.Module):
    def forward(self, tokens: Tensor) -> tuple[Tensor]:
        return (torch.zeros(*tokens.shape, len(PUBLISHED)),)


class _LooksAhead(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, len(PUBLISHED)) + tokens.float().mean()


class _Nothing(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, len(PUBLISHED))


class _Detached(nn.Module):
    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.scores, self.scale = embedding(len(PUBLISHED), len(PUBLISHED)), scale

    def forward(self, tokens: Tensor) -> Tensor:
        scores: Tensor = self.scores(tokens).detach() * self.scale
        return scores


class _Raises(nn.Module):
    def forward(self, tokens: Tensor) -> Tensor:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (embedding(len(PUBLISHED), 100), rf"shape \(3, 7, 100\).*\(3, 7, {len(PUBLISHED)}\)"),
        (_Integers(), r"torch\.int64.*floating-point logits"),
        (_Tuple(), "returned tuple"),
        (_LooksAhead(), "change with the tokens after it"),
        (_Nothing(), "nothing to train"),
        (_Detached(), "do not depend on its parameters"),
        (_Detached(math.inf), "not finite, before any training"),
    ],
)
def test_an_unfit_module_is_refused_before_training(module: nn.Module, message: str, tmp_path: Path) -> None:
    plan = tiny_plan().model_copy(update={"model": "mine.py:build"})
    with pytest.raises(LgbenchError, match=message):
        train(plan, tmp_path / "run", build=lambda _: module)
    assert not (tmp_path / "run").exists(), "neither record nor state"


def test_a_module_that_raises_is_the_users() -> None:
    with pytest.raises(ModelError, match="raised RuntimeError") as caught:
        check_module(_Raises(), device="cpu")
    assert "mat1 and mat2" in caught.value.user_traceback
    with pytest.raises(LgbenchError, match=r"returned str\. It must return a torch\.nn\.Module"):
        build_module(tiny_plan().settings, lambda size: "x", seed=0, device="cpu")  # type: ignore[arg-type, return-value]


def test_a_module_that_raises_in_training_is_the_users(tmp_path: Path) -> None:
    """Also where it cannot open a file of its own, which is no failure to write the run's."""

    class Reading(nn.Module):
        def __init__(self, size: int) -> None:
            super().__init__()
            self.scores, self.calls = nn.Embedding(size, size), 0

        def forward(self, tokens: Tensor) -> Tensor:
            self.calls += 1
            if self.calls > 8:
                (tmp_path / "missing.txt").read_text("utf-8")
            scores: Tensor = self.scores(tokens)
            return scores

    plan = tiny_plan().model_copy(update={"model": "mine.py:Reading"})
    with pytest.raises(ModelError, match=r"in training, raised FileNotFoundError: .*missing\.txt") as caught:
        train(plan, tmp_path / "run", build=Reading)
    assert "self.calls > 8" not in caught.value.user_traceback
    assert "read_text(" in caught.value.user_traceback
    with pytest.raises(FileNotFoundError), owned_folder(tmp_path / "run"):
        (tmp_path / "missing.txt").read_text("utf-8")
    with pytest.raises(LgbenchError, match="Cannot write to"), owned_folder(tmp_path / "run"):
        (tmp_path / "run" / "missing" / "x").write_text("", encoding="utf-8")


def test_a_module_must_take_the_longest_prompt_and_its_cap(tmp_path: Path) -> None:
    """Found before training, not when a reply first runs on."""

    class Positions(nn.Module):
        def __init__(self, most: int) -> None:
            super().__init__()
            self.scores, self.places = nn.Embedding(len(PUBLISHED), len(PUBLISHED)), nn.Embedding(most, 1)

        def forward(self, tokens: Tensor) -> Tensor:
            places: Tensor = self.places(torch.arange(tokens.shape[1]))
            scores: Tensor = self.scores(tokens) + places
            return scores

    plan = tiny_plan(arm="main_only").model_copy(update={"model": "mine.py:Positions"})
    needed = 2 + 21 + 4 * 21 + 32  # begin, tag, 20 letters and the equals sign, and the cap
    with pytest.raises(ModelError, match=f"given {needed} tokens, as many as the longest prompt"):
        train(plan, tmp_path / "short", build=lambda _: Positions(needed - 1))
    train(plan, tmp_path / "long", build=lambda _: Positions(needed))
    _, module = load_module(tmp_path / "long" / "checkpoint", build=lambda _: Positions(needed))
    assert len(CheckpointPredictor(module).predict(["a" * 20 + "="], "capitalize_reverse")) == 1


class Bigrams(nn.Module):
    """A module of the user's, with tied weights, a buffer and dropout."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.read = nn.Embedding(size, 8)
        self.write = nn.Linear(8, size, bias=False)
        self.write.weight = self.read.weight
        self.drop = nn.Dropout(0.1)
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.write(self.drop(self.read(tokens))) * self.scale
        return logits


def test_any_module_trains_and_resumes(tmp_path: Path) -> None:
    plan = tiny_plan("steps=17").model_copy(update={"model": "mine.py:Bigrams"})
    train(plan, tmp_path / "whole", build=Bigrams)
    with pytest.raises(Interrupted):
        train(plan, tmp_path / "cut", build=Bigrams, report=stop_at(10))  # type: ignore[arg-type]
    with pytest.raises(LgbenchError, match=r"does not fit the module .* has changed since"):
        train(plan, tmp_path / "cut", build=lambda size: nn.Embedding(size, size), resume=True)
    train(plan, tmp_path / "cut", build=Bigrams, resume=True)
    one, two = (load_module(tmp_path / name / "checkpoint", build=Bigrams)[1] for name in ("whole", "cut"))
    assert torch.equal(one.read.weight, two.read.weight)  # type: ignore[union-attr, arg-type]
    assert len(CheckpointPredictor(one).predict(["ab=", "abc="], "reverse")) == 2
