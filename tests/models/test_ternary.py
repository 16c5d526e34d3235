"""Ternary weights: the quantiser, its gradient, the packed blocks, and packed checkpoints."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from lgbench.models.checkpoint import CheckpointRecord, load_module, pack_checkpoint, save_checkpoint
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.ternary import TernaryLinear, trits_of
from lgbench.models.tokenizer import VOCABULARY_VERSION
from lgbench.models.transformer import Transformer
from lgbench.models.trits import BLOCK_BYTES, Packing, bits_a_weight, pack, unpack
from lgbench.util.errors import LgbenchError
from tests.models.test_positions import model_of, tokens_of

PACKINGS: tuple[Packing, ...] = ("tq2_0", "tq1_0")


def record_of(model: Transformer) -> CheckpointRecord:
    return CheckpointRecord(
        vocabulary_version=VOCABULARY_VERSION,
        architecture=model.shape,
        build=None,
        suite="mini-v1",
        group="copy-mqar",
        arm="transfer",
        seed=0,
        steps=1,
    )


def test_the_trits_of_a_small_matrix_are_those_by_hand() -> None:
    layer = TernaryLinear(4, 2).double()  # in which the numbers are exact
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.1, -0.2, 0.3, -0.4], [0.0, 0.5, -0.6, 0.14]], dtype=torch.float64))
    trits, scale = layer.rounded()
    assert float(scale) == pytest.approx(1e-5 + 2.24 / 8, abs=1e-12)
    assert trits.tolist() == [[0, -1, 1, -1], [0, 1, -1, 0]]  # 0.14 / 0.28001 is just below a half
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    assert layer(x).tolist() == pytest.approx([0.28001 * (-2 + 3 - 4), 0.28001 * (2 - 3)])


def test_the_gradient_is_straight_through() -> None:
    """By hand: of the input G W~, of the weight G^T X, with the latent weight untouched by the scale."""
    torch.manual_seed(0)
    layer = TernaryLinear(5, 3).double()
    x = torch.randn(7, 5, dtype=torch.float64, requires_grad=True)
    given = torch.randn(7, 3, dtype=torch.float64)
    (layer(x) * given).sum().backward()
    scale = 1e-5 + layer.weight.detach().abs().mean()
    rounded = torch.round(torch.clip(layer.weight.detach() / scale, -1, 1)) * scale
    torch.testing.assert_close(x.grad, given @ rounded)
    torch.testing.assert_close(layer.weight.grad, given.T @ x.detach())


def test_what_is_kept_for_evaluation_follows_the_weight() -> None:
    layer, x = TernaryLinear(8, 8).eval(), torch.randn(3, 8)

    def expected() -> Tensor:
        with torch.enable_grad():
            found: Tensor = layer(x)
            return found.detach()

    with torch.no_grad():
        first = layer(x)
        assert torch.equal(first, expected())
        layer.weight.mul_(-1)
        assert torch.equal(layer(x), -first)
        layer.load_state_dict({"weight": torch.randn(8, 8)})
        assert torch.equal(layer(x), expected())
        assert not torch.equal(layer(x), -first)
        other = copy.deepcopy(layer).double()
        other.weight.add_(1.0)
        assert (other(x.double()) != layer(x)).any()
    with torch.inference_mode():
        layer(x)
        exact = copy.deepcopy(layer).double()  # as decoding does to settle near ties
        torch.testing.assert_close(exact(x.double()).float(), layer(x))
    layer.train()
    layer(x).sum().backward()


def test_what_is_kept_for_evaluation_follows_the_fused_optimizer() -> None:
    """Its steps do not raise the version of a weight."""
    layer, x = TernaryLinear(8, 8), torch.randn(3, 8)
    adamw = torch.optim.AdamW(layer.parameters(), lr=0.5, fused=True)
    for _ in range(2):
        layer.train()
        layer(x).sum().backward()
        adamw.step()
        layer.eval()
        with torch.no_grad():
            scale = 1e-5 + layer.weight.abs().mean()
            torch.testing.assert_close(layer(x), x @ (scale * trits_of(layer.weight, scale)).T)


def loops(trits: list[int], packing: Packing) -> bytes:
    """A block as llama.cpp's C code writes it, one trit after another, without its scale."""
    values, written = [trit + 1 for trit in trits], []
    if packing == "tq2_0":
        for half in (0, 128):
            for column in range(32):
                written.append(sum(values[half + column + 32 * row] << (2 * row) for row in range(4)))
        return bytes(written)
    for start, columns, rows in ((0, 32, 5), (160, 16, 5), (240, 4, 4)):
        for column in range(columns):
            number = 0
            for row in range(rows):
                number = 3 * number + values[start + column + columns * row]
            number *= 3 ** (5 - rows)
            written.append((256 * number + 242) // 243)
    return bytes(written)


@pytest.mark.parametrize("packing", PACKINGS)
def test_blocks_are_those_of_llama_cpp(packing: Packing) -> None:
    trits = np.random.default_rng(0).integers(-1, 2, 512)
    blocks = pack(torch.from_numpy(trits).float(), 0.375, packing)
    assert blocks.shape == (2, BLOCK_BYTES[packing])
    for block, part in zip(blocks.numpy(), np.split(trits, 2), strict=True):
        assert block[:-2].tobytes() == loops(part.tolist(), packing)
        assert block[-2:].view("<f2")[0] == 0.375


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("shape", [(1, 1), (16, 16), (3, 100), (48, 16)])
def test_trits_come_back(packing: Packing, shape: tuple[int, int]) -> None:
    trits = torch.from_numpy(np.random.default_rng(1).integers(-1, 2, shape)).float()
    assert torch.equal(unpack(pack(trits, 1.0, packing), shape), trits)


def test_bits_a_weight() -> None:
    assert [bits_a_weight(packing) for packing in PACKINGS] == [2.0625, 1.6875]


def test_every_byte_of_five_trits_is_read_back() -> None:
    numbers = torch.arange(243)
    digits = torch.stack([numbers // 3**power % 3 for power in range(4, -1, -1)])
    blocks = torch.zeros(8, 256)
    blocks[:, :160] = torch.nn.functional.pad(digits, (0, 13)).T.reshape(8, 32, 5).transpose(1, 2).reshape(8, 160) - 1
    assert torch.equal(unpack(pack(blocks, 1.0, "tq1_0"), (8, 256)), blocks)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_packed_checkpoint_has_equal_logits_and_replies(packing: Packing, tmp_path: Path) -> None:
    model = model_of(weights="ternary", width=32, hidden=64)
    save_checkpoint(tmp_path / "whole", model, record_of(model))
    pack_checkpoint(tmp_path / "whole", tmp_path / "packed", packing)
    record, found = load_module(tmp_path / "packed")
    assert record.architecture is not None
    assert record.architecture.weights == "trits"
    tokens = tokens_of(60, 9)
    with torch.no_grad():
        assert torch.equal(found.eval()(tokens), model(tokens))
    prompts = ["hEllO=", "ab=", "zYx=", "qwertyuiop="]
    assert CheckpointPredictor(found).predict(prompts, "reverse") == CheckpointPredictor(model).predict(
        prompts, "reverse"
    )
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "packed")]
    assert sizes[1] < 0.6 * sizes[0], "embedding and output stay float32"


def test_a_float_model_is_rounded_once_and_for_all(tmp_path: Path) -> None:
    model = model_of()
    save_checkpoint(tmp_path / "float", model, record_of(model))
    pack_checkpoint(tmp_path / "float", tmp_path / "packed", "tq1_0")
    _, found = load_module(tmp_path / "packed")
    weight = cast(Any, model.blocks[0]).attention.qkv.weight.detach()
    scale = 1e-5 + weight.abs().mean()
    layer = cast(Any, found.get_submodule("blocks.0.attention.qkv"))
    torch.testing.assert_close(layer.weight * layer.scale, torch.round(torch.clip(weight / scale, -1, 1)) * scale)
    assert not layer.weight.requires_grad
    with pytest.raises(LgbenchError, match="is packed already"):
        pack_checkpoint(tmp_path / "packed", tmp_path / "again", "tq1_0")


def test_damaged_blocks_are_told(tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match="are not blocks"):
        unpack(torch.zeros(1, 65, dtype=torch.uint8), (16, 16))
    with pytest.raises(LgbenchError, match="2 blocks of 256 packed weights do not make a matrix of 256"):
        unpack(torch.zeros(2, 66, dtype=torch.uint8), (16, 16))
    with pytest.raises(LgbenchError, match="what is not a trit"):
        unpack(torch.full((1, 66), 255, dtype=torch.uint8), (16, 16))


def test_plain_checkpoints_say_nothing_of_it(tmp_path: Path) -> None:
    model = model_of()
    save_checkpoint(tmp_path, model, record_of(model))
    written = (tmp_path / "checkpoint.json").read_text("utf-8")
    assert "weights" not in written
    assert "position_range" not in written
    assert load_module(tmp_path)[0] == record_of(model)
