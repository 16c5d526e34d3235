"""Position encodings against their papers' formulas, and decoding token by token against whole rows."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from lgbench.analysis.hooked import HookedTransformer
from lgbench.models import decoding
from lgbench.models.architecture import Architecture
from lgbench.models.decoding import greedy, make_reader
from lgbench.models.packed import packed_logits
from lgbench.models.positions import evaluated_positions, frequencies, random_positions, slopes
from lgbench.models.tokenizer import PUBLISHED
from lgbench.models.transformer import KeyValueCache, Transformer, attend, rotate, rotation
from lgbench.util.errors import LgbenchError

CPU = torch.device("cpu")
KINDS = [
    {"position": "alibi"},
    {"position": "half-rope"},
    {"position": "rope", "position_range": 512},
    {"position": "half-rope", "position_range": 512},
    {"weights": "ternary"},
    {"position": "alibi", "weights": "ternary"},
]


def model_of(**changes: object) -> Transformer:
    shape = {"layers": 2, "heads": 2, "width": 16, "hidden": 24, "theta": 100.0, "position": "rope"} | changes
    torch.manual_seed(0)
    return Transformer(Architecture(**shape), len(PUBLISHED), 0.3).eval()  # type: ignore[arg-type]


def tokens_of(rows: int, time: int) -> Tensor:
    return torch.randint(3, len(PUBLISHED), (rows, time), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_token_by_token_is_as_the_whole_row(changes: dict[str, object]) -> None:
    model, tokens = model_of(**changes).double(), tokens_of(3, 40)
    whole = model(tokens)
    cache = KeyValueCache(2)
    cache.begin(8)
    found = [model(tokens[:, :5], cache)]
    found += [model(tokens[:, at : at + 1], cache) for at in range(5, 40)]
    torch.testing.assert_close(torch.cat(found, dim=1), whole[:, 4:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_near_ties_are_settled_in_double_precision(changes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Here every token counts as one, so that all are chosen by a double-precision copy."""
    model, prompts = model_of(**changes), tokens_of(6, 5)
    monkeypatch.setattr(decoding, "_NEAR_TIE", float("inf"))
    settled = decoding.greedy(decoding.make_reader(model), prompts, 8)
    monkeypatch.setattr(decoding, "_NEAR_TIE", -1.0)
    assert settled == decoding.greedy(decoding.make_reader(model.double()), prompts, 8)


@torch.no_grad()
@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_the_packed_forward_is_as_the_plain_one(changes: dict[str, object]) -> None:
    model, (short, long) = model_of(**changes).double(), (tokens_of(3, 5), tokens_of(2, 9))
    expected = torch.cat([model(short).flatten(0, 1), model(long).flatten(0, 1)])
    wanted = torch.arange(0, 33, 2)
    torch.testing.assert_close(packed_logits(model, [short, long], wanted), expected[wanted], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("changes", KINDS, ids=str)
def test_greedy_decoding_is_as_without_a_cache(changes: dict[str, object]) -> None:
    model, prompts = model_of(**changes), tokens_of(4, 6)
    written = greedy(make_reader(model), prompts, 12)
    for prompt, reply in zip(prompts, written, strict=True):
        row = prompt[None]
        with torch.no_grad():
            for token in reply:
                assert int(model(row)[0, -1].argmax()) == token
                row = torch.cat((row, torch.tensor([[token]])), dim=1)


def test_alibi_is_a_fall_with_distance() -> None:
    """Press et al., section 3: softmax(q_i k_j + m (j - i)); for 8 heads the slopes are 1/2, 1/4, ... 1/256."""
    assert slopes(8).tolist() == [2.0**-n for n in range(1, 9)]
    model = model_of(position="alibi", heads=2, width=8).double()
    attention = cast(Any, model.blocks[0]).attention
    queries, keys, values = torch.randn(3, 1, 2, 6, 4, dtype=torch.float64)
    found = attend(queries, keys, values, attention.lean(6))
    for head, slope in enumerate((2**-4, 2**-8)):
        for at in range(6):
            scores = [
                float(queries[0, head, at] @ keys[0, head, other]) / math.sqrt(4) - slope * (at - other)
                for other in range(at + 1)
            ]
            shares = torch.tensor(scores, dtype=torch.float64).softmax(0)
            torch.testing.assert_close(found[0, head, at], shares @ values[0, head, : at + 1])


@torch.no_grad()
def test_attention_as_analysis_writes_it_out_falls_too() -> None:
    model = model_of(position="alibi").double()
    hooked, tokens = HookedTransformer(model, PUBLISHED), tokens_of(2, 9)
    block = cast(Any, model.blocks[0])
    read = block.attention.qkv(block.attention_norm(model.embedding(tokens)))
    values = torch.unflatten(read, 2, (3, 2, 8))[:, :, 2].transpose(1, 2)
    mixed = (hooked.attention(tokens)[0] @ values).transpose(1, 2)
    torch.testing.assert_close(mixed, hooked.outputs(tokens)[0].double())


def test_half_of_a_head_turns_as_a_head_of_half_the_size() -> None:
    x = torch.randn(5, 8, dtype=torch.float64)
    places = torch.arange(5)
    found = rotate(x, rotation(places, 8, 100.0, torch.float64, half=True))
    inner = rotate(x[:, [0, 1, 4, 5]], rotation(places, 4, 100.0, torch.float64))
    torch.testing.assert_close(found[:, [0, 1, 4, 5]], inner)
    assert torch.equal(found[:, [2, 3, 6, 7]], x[:, [2, 3, 6, 7]]), "the others stay"
    assert frequencies(8, 100.0, torch.float64, device=CPU, half=True).tolist() == [1.0, 0.1, 0.0, 0.0]


def test_random_positions_increase_and_stay_below() -> None:
    torch.manual_seed(0)
    drawn = random_positions(2000, 4, 6, device=CPU)
    assert (drawn[:, 1:] > drawn[:, :-1]).all()
    assert (int(drawn.min()), int(drawn.max())) == (0, 5)
    assert {tuple(row) for row in drawn.tolist()} == {
        (a, b, c, d) for a in range(6) for b in range(a + 1, 6) for c in range(b + 1, 6) for d in range(c + 1, 6)
    }
    assert random_positions(3, 6, 6, device=CPU).tolist() == [[0, 1, 2, 3, 4, 5]] * 3
    with pytest.raises(LgbenchError, match="A row of 7 tokens needs as many positions; position_range=6 has fewer"):
        random_positions(1, 7, 6, device=CPU)


def test_random_positions_have_spans_of_every_scale() -> None:
    """So that the spacing of evaluation, here 4, is neither rare nor the usual one."""
    torch.manual_seed(0)
    drawn = random_positions(20_000, 16, 1024, device=CPU)
    spacing = (drawn[:, -1] - drawn[:, 0]).double() / 15
    below = [float((spacing < each).double().mean()) for each in (2, 4, 8, 16, 32)]
    expected = [math.log(each) / math.log(1024 / 16) for each in (2, 4, 8, 16, 32)]  # uniform in the logarithm
    assert below == pytest.approx(expected, abs=0.05)


def test_positions_in_evaluation_do_not_depend_on_the_length() -> None:
    assert evaluated_positions(3, 2, 2048, device=CPU).tolist() == [24, 32]
    assert evaluated_positions(0, 3, 64, device=CPU).tolist() == [0, 1, 2]


def test_positions_are_random_in_training_alone_and_alike_in_both_steps() -> None:
    model, tokens = model_of(position_range=64).double(), tokens_of(3, 7)
    with torch.no_grad():
        assert torch.equal(model(tokens), model(tokens))
        model.train()
        torch.manual_seed(5)
        one, two = model(tokens), model(tokens)
        assert not torch.allclose(one, two)
        torch.manual_seed(5)
        packed = packed_logits(model, [tokens], torch.arange(21))
        torch.testing.assert_close(packed, one.flatten(0, 1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"position": "half-rope", "width": 12}, "a multiple of 4, not 6"),
        ({"position": "alibi", "position_range": 64}, "Random positions are for rope and half-rope, not alibi"),
        ({"position_range": 10**6}, "below at most 100,000"),
        ({"position_range": -1}, "below at most"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        model_of(**changes)
