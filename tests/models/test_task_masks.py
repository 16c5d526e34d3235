"""Heads and units that tasks do not share, against models whose weights are zero there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor
from typer.testing import CliRunner

from lgbench.analysis.hooked import HookedTransformer, head_masks
from lgbench.cli import app
from lgbench.models.architecture import Architecture, Use
from lgbench.models.checkpoint import load_module
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.decoding import _CachedReader, _PlainReader, greedy
from lgbench.models.hf_export import export_hf
from lgbench.models.packed import packed_logits
from lgbench.models.tokenizer import PUBLISHED
from lgbench.models.transformer import Transformer
from lgbench.training.record import read_training_record
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from tests.tiny_training import Interrupted, stop_at, tiny_plan, weights

HEADS, HIDDEN = 4, 12
MAIN = PUBLISHED.task_tag("capitalize_reverse")
USES: list[Use] = ["half", "disjoint"]


def model(heads: Use = "all", units: Use = "all") -> Transformer:
    torch.manual_seed(2)
    shape = Architecture(
        layers=2,
        heads=HEADS,
        width=8,
        hidden=HIDDEN,
        theta=100.0,
        position="rope",
        task_heads=heads,
        task_units=units,
        main_tag=MAIN if "disjoint" in (heads, units) else None,
    )
    return Transformer(shape, len(PUBLISHED), initial_std=0.5).double()


def rows(*tasks: str) -> Tensor:
    return cast(Tensor, torch.tensor([PUBLISHED.encode_prompt(task, "hEllO=")[:8] for task in tasks]))


def with_zeros(whole: Transformer, *, heads: int | None, units: int | None) -> Transformer:
    """The same weights in a plain model that reads nothing of one half (0 or 1) of the heads, and of the units."""
    plain = Transformer(replace(whole.shape, task_heads="all", task_units="all", main_tag=None), len(PUBLISHED))
    plain.double().load_state_dict(whole.state_dict())
    block: Any
    for block in plain.blocks:
        for half, weight in ((heads, block.attention.out.weight), (units, block.feed_forward.down.weight)):
            if half is not None:
                size = weight.shape[1] // 2
                weight.data[:, half * size : (half + 1) * size] = 0
    return plain


def unused_half(use: Use, *, main: bool) -> int | None:
    if use == "all":
        return None
    return 1 if use == "half" or main else 0


@pytest.mark.parametrize("heads", ["all", *USES])
@pytest.mark.parametrize("units", ["all", *USES])
def test_a_row_is_read_as_by_a_model_without_the_half_that_its_task_does_not_use(heads: Use, units: Use) -> None:
    found = model(heads, units)
    tokens = rows("capitalize_reverse", "reverse", "capitalize", "capitalize_reverse")
    logits = found(tokens)
    for row, is_main in enumerate((True, False, False, True)):
        plain = with_zeros(found, heads=unused_half(heads, main=is_main), units=unused_half(units, main=is_main))
        torch.testing.assert_close(logits[row], plain(tokens[row : row + 1])[0], rtol=1e-12, atol=1e-12)
    if (heads, units) == ("all", "all"):
        assert found.shape.is_shared
    else:
        assert not torch.allclose(logits, with_zeros(found, heads=None, units=None)(tokens), atol=1e-3)


def plain_logits(module: Transformer, tokens: Tensor) -> Tensor:
    return cast(Tensor, module(tokens))


def packed(module: Transformer, tokens: Tensor) -> Tensor:
    return packed_logits(module, [tokens], torch.arange(tokens.numel()))


@pytest.mark.parametrize("logits", [plain_logits, packed])
@pytest.mark.parametrize(("tasks", "theirs"), [(("capitalize_reverse",), 0), (("reverse", "capitalize"), 1)])
def test_the_other_half_gets_no_gradient(
    logits: Callable[[Transformer, Tensor], Tensor], tasks: tuple[str, ...], theirs: int
) -> None:
    module = model("disjoint", "disjoint")
    logits(module, rows(*tasks)).square().sum().backward()  # type: ignore[no-untyped-call]
    block: Any
    for block in module.blocks:
        attention, feed_forward = block.attention, block.feed_forward
        of_heads = [
            *attention.qkv.weight.grad.view(3, 2, -1, 8).unbind(0),
            attention.out.weight.grad.view(8, 2, -1).transpose(0, 1),
        ]
        of_units = [
            *feed_forward.gate_up.weight.grad.view(2, 2, -1, 8).unbind(0),
            feed_forward.down.weight.grad.view(8, 2, -1).transpose(0, 1),
        ]
        for gradient in (*of_heads, *of_units):
            assert gradient[1 - theirs].abs().max() == 0
            assert gradient[theirs].abs().max() > 1e-9


@pytest.mark.parametrize("heads", USES)
@pytest.mark.parametrize("units", USES)
def test_decoding_step_by_step_writes_what_whole_rows_write(heads: Use, units: Use) -> None:
    module = model(heads, units).float().eval()
    tokens = rows("capitalize_reverse", "reverse", "capitalize_reverse", "capitalize")
    whole = greedy(_PlainReader(module), tokens, 12)
    assert greedy(_CachedReader(module), tokens, 12) == whole
    reader = _CachedReader(module)  # rows that leave the batch take their masks with them
    reader.begin(tokens)
    first = reader.next_tokens(tokens)
    kept = torch.tensor([1, 2])
    reader.keep(kept)
    longer = torch.cat([tokens, first[:, None]], dim=1)[kept]
    assert reader.next_tokens(longer).tolist() == [whole[1][1], whole[2][1]]


def test_what_a_task_does_not_use_is_zero_to_whoever_looks_inside() -> None:
    module = model("disjoint").float()
    hooked = HookedTransformer(module, PUBLISHED)
    tokens = rows("capitalize_reverse", "reverse")
    outputs = hooked.outputs(tokens)
    assert outputs[:, 0, :, 2:].abs().max() == outputs[:, 1, :, :2].abs().max() == 0
    assert outputs[:, 0, :, :2].abs().max() > 0
    masks = torch.cat([torch.zeros(1, 2, HEADS, dtype=torch.bool), head_masks(2, HEADS)])
    found = hooked.logits(tokens, masks, torch.zeros(2, 1, 1, HEADS, 2))
    with torch.inference_mode():
        torch.testing.assert_close(found[0], module(tokens))
    torch.testing.assert_close(found[1 + 2, 0], found[0, 0])  # a head that the main task does not use
    assert not torch.allclose(found[1, 0], found[0, 0], atol=1e-4)


def test_a_run_records_them_and_is_evaluated_with_them(tmp_path: Path) -> None:
    plan = tiny_plan("task_heads=disjoint", "task_units=half")
    with pytest.raises(Interrupted):
        train(plan, tmp_path, report=stop_at(10))  # type: ignore[arg-type]
    record = train(plan, tmp_path, resume=True)
    assert read_training_record(tmp_path).plan == plan
    assert (record.plan.settings.task_heads, record.plan.settings.task_units) == ("disjoint", "half")
    checkpoint, module = load_module(tmp_path / "checkpoint")
    assert checkpoint.architecture is not None
    assert checkpoint.architecture.main_tag == MAIN
    whole = train(plan, tmp_path / "whole")
    assert whole.curve == record.curve
    replies = CheckpointPredictor(module).predict(["ab=", "bA="], "reverse")
    without = CheckpointPredictor(with_zeros(cast(Transformer, module).double(), heads=0, units=1).float()).predict(
        ["ab=", "bA="], "reverse"
    )
    assert replies == without


def test_the_neutral_values_leave_no_trace(tmp_path: Path) -> None:
    train(tiny_plan(), tmp_path / "usual")
    train(tiny_plan("task_heads=all", "task_units=all"), tmp_path / "named")
    usual, named = (weights(tmp_path / each) for each in ("usual", "named"))
    assert all(torch.equal(usual[name], named[name]) for name in usual)
    shape = json.loads((tmp_path / "usual" / "checkpoint" / "checkpoint.json").read_text())["architecture"]
    assert not shape.keys() & {"task_heads", "task_units", "main_tag"}


def test_the_form_of_llama_is_refused(tmp_path: Path) -> None:
    train(tiny_plan("task_heads=half"), tmp_path)
    with pytest.raises(LgbenchError, match=r"task_heads=half, task_units=all\), which Llama cannot express"):
        export_hf(tmp_path / "checkpoint", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (["heads=1", "task_heads=disjoint"], "task_heads=disjoint divides each layer in two halves, which heads=1"),
        (["hidden=17", "task_units=half"], "Choose an even number, as in hidden=18."),
        (["task_heads=some"], "Input should be 'all', 'half' or 'disjoint'. The preset has task_heads=all."),
    ],
)
def test_parts_that_cannot_be_divided_are_refused(changes: list[str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(LgbenchError) as raised:
        tiny_plan(*changes)
    assert sentence in str(raised.value)
    given = [part for change in changes for part in ("--set", change)]
    result = CliRunner().invoke(
        app, ["train", "capitalize-reverse", "transfer", *given, "--output", str(tmp_path / "run")]
    )
    assert result.exit_code != 0
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_lacks_the_tag_is_refused(tmp_path: Path) -> None:
    train(tiny_plan("task_heads=disjoint"), tmp_path)
    path = tmp_path / "checkpoint" / "checkpoint.json"
    record = json.loads(path.read_text())
    record["architecture"]["main_tag"] = None
    path.write_text(json.dumps(record))
    with pytest.raises(LgbenchError, match="main_tag must be given where task_heads or task_units is disjoint"):
        load_module(tmp_path / "checkpoint")
