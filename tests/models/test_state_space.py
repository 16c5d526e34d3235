"""The state-space model against its recurrence, written token by token, and in pieces."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor, nn

from lgbench.models.construction import load_build
from lgbench.models.state_space import StateSpaceBlock, build
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.modules import check_module
from lgbench.util.errors import LgbenchError


def model_of(size: int = len(PUBLISHED)) -> nn.Module:
    torch.manual_seed(0)
    model = build(size, layers=2, width=16, heads=4, state=8).double()
    for parameter in model.parameters():  # nothing is as small as at first
        nn.init.normal_(parameter, mean=float(parameter.ndim < 2), std=0.3)
    return model


def recurrence(block: StateSpaceBlock, x: Tensor) -> list[list[float]]:
    """What a block adds to one row, shape (time, width), by Dao and Gu's recurrence, number by number."""
    inner, keys, heads = block.inner, block.state, block.heads
    size = inner // heads
    normed = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * block.norm.weight
    read = (normed @ block.read.weight.T).tolist()
    silu = [[value / (1 + math.exp(-value)) for value in row[:inner]] for row in read]
    memory = [[[0.0] * size for _ in range(keys)] for _ in range(heads)]
    rows = []
    for time, row in enumerate(read):
        mixed = []
        for channel in range(inner + 2 * keys):
            total = float(block.tap_bias[channel])
            for tap in range(4):
                if time + tap >= 3:
                    total += float(block.taps[channel, tap]) * read[time + tap - 3][inner + channel]
            mixed.append(total / (1 + math.exp(-total)))
        values, write, ask = mixed[:inner], mixed[inner : inner + keys], mixed[inner + keys :]
        out = []
        for head in range(heads):
            step = math.log1p(math.exp(row[2 * inner + 2 * keys + head] + float(block.step_bias[head])))
            left = math.exp(-step * math.exp(float(block.log_rate[head])))
            own = values[head * size : (head + 1) * size]
            for key in range(keys):
                for place in range(size):
                    memory[head][key][place] = left * memory[head][key][place] + step * write[key] * own[place]
            for place in range(size):
                found = sum(ask[key] * memory[head][key][place] for key in range(keys))
                out.append(found + float(block.skip[head]) * own[place])
        rows.append([value * gate for value, gate in zip(out, silu[time], strict=True)])
    gated = torch.tensor(rows, dtype=torch.float64)
    gated = gated * (gated.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * block.inner_norm.weight
    found_rows: list[list[float]] = (gated @ block.write.weight.T).tolist()
    return found_rows


@torch.no_grad()
def test_a_block_is_its_recurrence() -> None:
    block: StateSpaceBlock = cast(Any, model_of()).blocks[0]
    x = torch.randn(1, 6, 16, dtype=torch.float64)
    expected = x[0] + torch.tensor(recurrence(block, x[0]), dtype=torch.float64)
    torch.testing.assert_close(block(x, None)[0][0], expected)


@torch.no_grad()
@pytest.mark.parametrize("pieces", [[1] * 9, [4, 5], [2, 1, 6]])
def test_pieces_are_as_the_whole_row(pieces: list[int]) -> None:
    model, tokens = model_of(), torch.randint(3, 100, (3, 9))
    found, state, at = [], None, 0
    for size in pieces:
        logits, state = model.step(tokens[:, at : at + size], state)  # type: ignore[operator]
        found.append(logits)
        at += size
    torch.testing.assert_close(torch.cat(found, dim=1), model(tokens))


def test_it_keeps_the_contract_of_a_module() -> None:
    check_module(build(len(PUBLISHED), layers=1, width=8, heads=2, state=4), device="cpu")


def test_it_has_about_as_many_parameters_as_the_transformer() -> None:
    ours = sum(parameter.numel() for parameter in build(len(PUBLISHED)).parameters())
    assert 0.9 < ours / 678_784 < 1.1, ours


@pytest.mark.parametrize(
    ("options", "message"), [({"heads": "3"}, "3 heads do not divide"), ({"state": "0"}, "state of 1 or more, not 0")]
)
def test_what_does_not_fit_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        load_build("lgbench.models.state_space:build", options)(152)


def test_it_is_found_by_its_name() -> None:
    assert load_build("lgbench.models.state_space:build", {"layers": "1"})(10).head.out_features == 10
