"""Modules that are built in uncommon ways: trained, interrupted, resumed and asked, or refused before training."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from torch import Tensor, nn

from lgbench.models.checkpoint import Build, load_module
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.modules import build_module
from lgbench.training.state import STATE
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError, ModelError
from tests.tiny_training import Interrupted, stop_at, tiny_plan


class Plain(nn.Module):
    """The least that can be trained; the others differ in one thing."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.read, self.write = nn.Embedding(size, 8), nn.Linear(8, size)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.write(self.read(tokens))
        return logits


class WithGaps(Plain):
    """A parameter that lies in memory column by column."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.write.weight = nn.Parameter(torch.randn(8, size).t())


class RemembersLengths(Plain):
    """Keeps a table for each length it has seen, as rotary embeddings do."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.tables: dict[int, Tensor] = {}

    def forward(self, tokens: Tensor) -> Tensor:
        time = tokens.shape[1]
        if time not in self.tables:
            self.tables[time] = torch.linspace(0, 1, time)[:, None].expand(time, 8)
        logits: Tensor = self.write(self.read(tokens) * self.tables[time])
        return logits


class Masked(Plain):
    """Attends under a mask of infinities that its checkpoint holds."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.register_buffer("mask", torch.full((256, 256), -torch.inf).triu(1))

    def forward(self, tokens: Tensor) -> Tensor:
        read, time = self.read(tokens), tokens.shape[1]
        assert isinstance(self.mask, Tensor)
        scores = read @ read.transpose(1, 2) + self.mask[:time, :time]
        logits: Tensor = self.write(read + scores.softmax(dim=-1) @ read)
        return logits


@pytest.mark.parametrize("build", [Plain, WithGaps, RemembersLengths, Masked])
def test_it_is_trained_interrupted_resumed_and_asked(build: Build, tmp_path: Path) -> None:
    plan = tiny_plan("steps=17").model_copy(update={"model": f"mine.py:{build}"})
    train(plan, tmp_path / "whole", build=build)
    with pytest.raises(Interrupted):
        train(plan, tmp_path / "cut", build=build, report=stop_at(10))  # type: ignore[arg-type]
    train(plan, tmp_path / "cut", build=build, resume=True)
    one, two = (load_module(tmp_path / name / "checkpoint", build=build)[1] for name in ("whole", "cut"))
    for (name, weight), again in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(weight, again), name
    assert len(CheckpointPredictor(one).predict(["ab=", "abc="], "reverse")) == 2


class MoreThanTensors(Plain):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


class Sparse(Plain):
    """Holds a tensor of a layout that safetensors lacks."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self.register_buffer("table", torch.eye(3).to_sparse())


class ChangesItsInput(Plain):
    def forward(self, tokens: Tensor) -> Tensor:
        tokens += 1
        return super().forward(tokens)


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (MoreThanTensors, "state holds '_extra_state', of type dict; a checkpoint holds tensors only"),
        (Sparse, r"state holds 'table', torch\.sparse_coo of torch\.float32, which no checkpoint can hold"),
        (ChangesItsInput, "changes the tokens that it is given. Have it work on a copy"),
    ],
)
def test_it_is_refused_before_training(build: Build, told: str) -> None:
    with pytest.raises(LgbenchError, match=told):
        build_module(tiny_plan().settings, build, seed=0, device="cpu")


def test_a_module_without_weights_in_memory_is_the_users() -> None:
    def build(size: int) -> nn.Module:
        return Plain(size).to("meta")

    with pytest.raises(ModelError, match="moved to cpu, raised NotImplementedError: Cannot copy out of meta tensor"):
        build_module(tiny_plan().settings, build, seed=0, device="cpu")


@pytest.mark.parametrize(("every", "kept"), [(1, None), (5, 5)])
def test_weights_that_are_no_numbers_are_not_saved(every: int, kept: int | None, tmp_path: Path) -> None:
    """Of the last step no loss tells: the state before it stays what a run goes on from."""

    class Spoils(Plain):
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self.write.weight.register_hook(self._gradient)  # type: ignore[no-untyped-call]
            self.calls = 0

        def _gradient(self, gradient: Tensor) -> Tensor:
            self.calls += 1
            return gradient * torch.nan if self.calls == (2 if kept is None else 14) else gradient

    plan = tiny_plan(f"evaluate_every={every}", "steps=7", "length_chunks=2")
    plan = plan.model_copy(update={"model": "mine.py:Spoils"})
    told = r"The weights are no longer numbers \(read\.weight\) by step "
    told += r"1\. Train anew" if kept is None else r"7\. The state after step 5 is in .* Train anew"
    with pytest.raises(LgbenchError, match=told):
        train(plan, tmp_path / "run", build=Spoils)
    assert (tmp_path / "run" / STATE).exists() == (kept is not None)
    assert not (tmp_path / "run" / "checkpoint").exists()
    if kept is not None:
        assert train(plan, tmp_path / "run", build=Plain, resume=True).finished


class LosesItsNumbers(Plain):
    def forward(self, tokens: Tensor) -> Tensor:
        logits = super().forward(tokens)
        return logits * torch.nan if tokens.shape[1] > 8 else logits


class LastLogitsOnly(Plain):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens)[:, -1]


def test_what_is_no_logits_is_told_and_no_reply() -> None:
    """NaN beyond some length would look like a model that does not generalize to it."""
    with pytest.raises(LgbenchError, match=r"logits are not numbers \(NaN\), given 13 tokens"):
        CheckpointPredictor(LosesItsNumbers(len(PUBLISHED))).predict(["abcdefghij="], "reverse")
    with pytest.raises(LgbenchError, match=r"given tokens of shape \(1, 6\), returned shape \(1, \d+\)\. It must"):
        CheckpointPredictor(LastLogitsOnly(len(PUBLISHED))).predict(["abc="], "reverse")
