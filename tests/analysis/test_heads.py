"""Heads replaced one by one, against other routes: loops, removed attention, and a model built by hand."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor
from typer.testing import CliRunner

from lgbench.analysis.ablation import ABLATIONS, Ablation, Prepared, attention_distances, replacement
from lgbench.analysis.heads import HeadsRecord, ablation_distance, analyze_heads, default_lengths, head_map
from lgbench.analysis.hooked import HookedModel, HookedTransformer, head_masks
from lgbench.analysis.opening import Opened, open_model
from lgbench.analysis.questions import draw_questions, shares_prompts
from lgbench.analysis.records import read_analysis
from lgbench.analysis.teacher import make_rows, score
from lgbench.cli import app
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.data.task import Example
from lgbench.data.tasks import get_task
from lgbench.models.architecture import Architecture
from lgbench.models.folders import checkpoint_folder
from lgbench.models.tokenizer import PUBLISHED
from lgbench.models.transformer import Transformer
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")


def fresh(position: str = "rope", *, layers: int = 3, heads: int = 2, head_size: int | None = 6) -> HookedTransformer:
    torch.manual_seed(1)
    shape = Architecture(
        layers=layers,
        heads=heads,
        width=8,
        hidden=12,
        theta=100.0,
        position=cast(Any, position),
        head_size=head_size,
    )
    return HookedTransformer(Transformer(shape, len(PUBLISHED), initial_std=0.4), PUBLISHED)


def examples(task: str, length: int = 5, count: int = 6) -> list[Example]:
    return draw_questions(MINI, [task], length, count).examples[task]


@pytest.fixture(scope="module")
def tiny() -> Opened:
    return open_model("tiny:transfer", device="cpu")


@pytest.mark.parametrize("position", ["rope", "nope"])
def test_replacing_no_head_changes_nothing(position: str) -> None:
    model = fresh(position)
    tokens = torch.randint(3, 100, (4, 9))
    none = torch.zeros(2, 3, 2, dtype=torch.bool)
    values = torch.full((3, 1, 1, 2, 6), 100.0)
    with torch.inference_mode():
        plain = model.module(tokens)
    for start in (0, 5):
        torch.testing.assert_close(
            model.logits(tokens, none, values, start=start), plain[:, start:].expand(2, -1, -1, -1)
        )


def test_replacing_all_heads_of_a_layer_removes_its_attention() -> None:
    model = fresh()
    tokens = torch.randint(3, 100, (4, 9))
    mask = torch.zeros(1, 3, 2, dtype=torch.bool)
    mask[0, 1] = True
    found = model.logits(tokens, mask, torch.zeros(3, 1, 1, 2, 6))[0]
    with torch.inference_mode():
        cast(Any, model.module).blocks[1].attention.out.weight.zero_()
        torch.testing.assert_close(found, model.module(tokens))


def slow_logits(model: HookedTransformer, tokens: Tensor, mask: Tensor, values: Tensor) -> Tensor:
    """The reference model once more, written out without hooks, for one choice of heads."""
    module = cast(Any, model.module)
    batch, time = tokens.shape
    x = module.embedding(tokens)
    turn = module.rotation(0, time, tokens.device, x.dtype)
    for layer, block in enumerate(module.blocks):
        projected = block.attention.qkv(block.attention_norm(x)).view(batch, time, 3, model.heads, model.size)
        out = torch.zeros_like(x)
        for head in range(model.heads):
            query, key, value = (projected[:, :, which, head] for which in range(3))
            if turn is not None:
                half = model.size // 2
                query, key = (
                    each * turn[0] + torch.cat([each[..., half:], each[..., :half]], -1) * turn[1]
                    for each in (query, key)
                )
            weights = torch.zeros(batch, time, time)
            for at in range(time):
                seen = (query[:, at : at + 1] @ key[:, : at + 1].mT)[:, 0] / model.size**0.5
                weights[:, at, : at + 1] = seen.softmax(-1)
            mixed = values[layer, :, :, head] if mask[layer, head] else weights @ value
            columns = slice(head * model.size, (head + 1) * model.size)
            out = out + mixed @ block.attention.out.weight[:, columns].mT
        x = x + out
        x = x + block.feed_forward(block.feed_forward_norm(x))
    return cast(Tensor, module.head(module.norm(x)))


@pytest.mark.parametrize("position", ["rope", "nope"])
def test_many_choices_at_once_equal_one_after_another(position: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fresh(position)
    tokens = torch.randint(3, 100, (4, 9))
    masks = torch.cat([head_masks(3, 2), torch.rand(8, 3, 2) < 0.5, torch.zeros(1, 3, 2, dtype=torch.bool)])
    values = torch.randn(3, 4, 9, 2, 6)
    with torch.inference_mode():
        one_by_one = torch.stack([slow_logits(model, tokens, mask, values) for mask in masks])
    torch.testing.assert_close(model.logits(tokens, masks, values), one_by_one, atol=1e-4, rtol=1e-4)
    plain = HookedModel._variants(model, tokens, masks, values, 0)
    torch.testing.assert_close(plain, one_by_one, atol=1e-4, rtol=1e-4)
    monkeypatch.setattr(model, "most_rows", 9)  # two variants at a time
    torch.testing.assert_close(model.logits(tokens, masks, values), one_by_one, atol=1e-4, rtol=1e-4)


def test_attention_is_what_the_model_mixes_with() -> None:
    model = fresh()
    tokens = torch.randint(3, 100, (4, 9))
    attention = model.attention(tokens)
    torch.testing.assert_close(attention.sum(-1), torch.ones(3, 4, 2, 9))
    assert attention.triu(1).eq(0).all()
    values: list[Tensor] = []
    module = cast(Any, model.module)
    handles = [
        block.attention.qkv.register_forward_hook(lambda _, inputs, output: values.append(output))
        for block in module.blocks
    ]
    outputs = model.outputs(tokens)
    for handle in handles:
        handle.remove()
    for layer in range(3):
        value = values[layer].view(4, 9, 3, 2, 6)[:, :, 2].transpose(1, 2)
        torch.testing.assert_close((attention[layer] @ value).transpose(1, 2), outputs[layer])


@pytest.mark.parametrize("task", ["mqar", "shortest_path", "reverse"])
@pytest.mark.parametrize("kind", ABLATIONS)
def test_what_heads_are_replaced_by(task: str, kind: Ablation) -> None:
    model = fresh()
    for rows in make_rows(model, examples(task, 8, 12)):
        outputs = model.outputs(rows.tokens)
        found = replacement(kind, rows, outputs).expand_as(outputs)
        count = len(rows.places)
        for row in range(count):
            for time in range(rows.tokens.shape[1]):
                donors = {"zero": [], "resample": [(row + 1) % count], "mean": list(range(count))}[kind]
                taken = [outputs[:, each, min(time, int(rows.last[each]))] for each in donors]
                wanted = torch.stack(taken).mean(0) if taken else torch.zeros(3, 2, 6)
                torch.testing.assert_close(found[:, row, time], wanted)


@pytest.mark.parametrize("task", ["mqar", "dfs_trace", "reverse_add"])
def test_scores_against_each_example_alone(task: str) -> None:
    model, asked = fresh(), examples(task, 8, 12)
    none = torch.zeros(1, 3, 2, dtype=torch.bool)
    scores = Prepared(model, asked).ablated(none, "zero")
    assert scores.places.tolist() == sorted(scores.places.tolist())
    for at, place in enumerate(scores.places.tolist()):
        prompt, target = model.encode(asked[place].task, asked[place].prompt, asked[place].target)
        with torch.inference_mode():
            logits = model.module(torch.tensor([[*prompt, *target[:-1]]]))[0, len(prompt) - 1 :]
        chosen = logits.log_softmax(-1)[range(len(target)), target]
        assert scores.mean_logprob[0, at].item() == pytest.approx(chosen.mean().item(), abs=1e-5)
        assert scores.exact[0, at] == (logits.argmax(-1) == torch.tensor(target)).all()
        assert scores.wanted[at].sum() == len(target)


def by_hand(head: int) -> HookedTransformer:
    """A model without feed-forward layers that writes the first letter of a prompt until it has as many as it.

    It does not count: it is right on `repeat_first` up to the end. One head looks from every position to position 2,
    where the letter is, and writes it; the other heads write nothing.
    """
    width = 2 * len(PUBLISHED) + 2
    shape = Architecture(layers=2, heads=3, width=width, hidden=4, theta=1e4, position="nope", head_size=width)
    module = Transformer(shape, len(PUBLISHED))
    size = len(PUBLISHED)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        for each in module.modules():
            if type(each).__name__ == "RMSNorm":
                cast(Any, each).weight.fill_(1.0)
        cast(Any, module.embedding).weight[:, :size] = torch.eye(size)
        qkv = cast(Any, module.blocks[0]).attention.qkv.weight.view(3, 3, width, width)
        # Every token asks for letters; the first letter is the only key, as the prompts have one letter alone.
        qkv[0, head, 0, :size] = 30.0
        letters = [PUBLISHED.tokens.index(each) for each in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"]
        qkv[1, head, 0, letters] = 30.0
        qkv[2, head, :size, :size] = torch.eye(size)
        out = cast(Any, module.blocks[0]).attention.out.weight
        out[size : 2 * size, head * width : head * width + size] = torch.eye(size)
        cast(Any, module.head).weight[:, size : 2 * size] = torch.eye(size)
    return HookedTransformer(module, PUBLISHED)


@pytest.mark.parametrize("head", [0, 2])
def test_the_one_head_that_does_the_task_is_found(head: int) -> None:
    model = by_hand(head)
    asked = [Example("repeat_first", 1, at, f"{each}=", each) for at, each in enumerate("aBcDeF")]
    scores = Prepared(model, asked).ablated(head_masks(2, 3), "resample")
    (rows,) = make_rows(model, asked)
    none = torch.zeros(1, 2, 3, dtype=torch.bool)
    clean = score(rows, model.logits(rows.tokens, none, torch.zeros(2, 1, 1, 3, model.size), start=rows.start - 1))
    assert clean.right[0, :, 0].all()  # the letter; the end it does not know
    lost = (~scores.right[:, :, 0]).all(dim=1)
    assert lost.tolist() == [each == head for each in range(6)]
    drops = (clean.logprob[0, :, 0] - scores.logprob[:, :, 0]).mean(dim=1)
    assert drops.abs().gt(1e-6).nonzero()[:, 0].tolist() == [head]


def test_the_map_is_that_of_a_loop(tiny: Opened) -> None:
    asked = examples("capitalize_reverse", 6, 8)
    prepared = Prepared(tiny.hooked, asked)
    found = head_map(prepared, "resample")
    (rows,) = make_rows(tiny.hooked, asked)
    outputs = tiny.hooked.outputs(rows.tokens)
    for layer, head in [(0, 1), (0, 2), (1, 1), (2, 3)]:
        mask = torch.zeros(3, 4, dtype=torch.bool)
        mask[layer, head] = True
        with torch.inference_mode():
            logits = slow_logits(cast(Any, tiny.hooked), rows.tokens, mask, outputs.roll(-1, 1))
        scores = score(rows, logits[None, :, rows.start - 1 :])
        assert found.right_without[layer][head] == int(scores.exact.sum())
        assert found.logprob_without[layer][head] == pytest.approx(scores.mean_logprob.mean().item(), abs=1e-4)
        assert found.logprob_at_without[layer][head] == pytest.approx(scores.logprob_at()[0].tolist(), abs=1e-4)
    assert found.right == 8


def test_the_distance_of_attention_by_loops(tiny: Opened) -> None:
    asked = draw_questions(MINI, ["capitalize_reverse", "reverse"], 3, 4)
    one, other = asked.examples.values()
    found, of_means = attention_distances(tiny.hooked, one, other)
    (first,), (second,) = make_rows(tiny.hooked, one), make_rows(tiny.hooked, other)
    a, b = (tiny.hooked.attention(rows.tokens) for rows in (first, second))
    time = first.tokens.shape[1]
    for layer, head in [(0, 0), (1, 2)]:
        total = sum(
            abs(float(a[layer, x, head, i, j]) - float(b[layer, x, head, i, j]))
            for x in range(4)
            for i in range(time)
            for j in range(i + 1)
        )
        assert found[layer, head].item() == pytest.approx(total / 4 / (2 * time), abs=1e-6)
    assert (of_means <= found + 1e-9).all()
    assert (attention_distances(tiny.hooked, one, one)[0] == 0).all()


def test_where_targets_differ_in_length_the_common_part_is_compared() -> None:
    from lgbench.analysis.ablation import aligned

    model = fresh()

    def common(first: str, second: str, length: int) -> tuple[int, int]:
        asked = draw_questions(MINI, [first, second], length, 12)
        (one,), (other,) = (make_rows(model, each) for each in asked.examples.values())
        return aligned(one, other), one.start

    # begin, tag, 4 + 1 + 4 digits and signs, "=": then all of the shorter target
    assert common("reverse_add", "copy_first_op", 4) == (12 + 4, 12)
    assert common("reverse_add", "no_carry", 4) == (12 + 5, 12)
    time, start = common("shortest_path", "dfs_trace", 6)
    assert time == start


def test_questions_are_paired_and_new() -> None:
    asked = draw_questions(MINI, ["reverse_add", "no_carry", "reverse_subtract", "string_copy"], 3, 40)
    assert asked.paired == ("reverse_add", "no_carry", "reverse_subtract")
    for added, plain, taken in zip(*(asked.examples[task] for task in asked.paired), strict=True):
        assert added.prompt == plain.prompt == taken.prompt.replace("-", "+")
        assert added.target == get_task("reverse_add").solve(added.prompt)
        first, second = (int(each[::-1]) for each in taken.prompt[:-1].split("-"))
        assert first >= second
    strings = draw_questions(MINI, ["string_copy", "reverse", "mqar"], 2, 200)
    assert strings.paired == ("string_copy", "reverse")
    tested = {each.prompt for each in draw_cell(MINI, "string_copy", 2)}
    assert not tested & {each.prompt for each in strings.examples["reverse"]}
    assert len(strings.examples["mqar"]) == 200
    assert draw_questions(MINI, ["string_copy"], 2, 200).examples["string_copy"] == strings.examples["string_copy"]
    assert not shares_prompts(get_task("reverse_subtract"), get_task("cot_multiply"))
    assert not shares_prompts(get_task("reverse_subtract"), get_task("mqar"))


def test_ablation_distance() -> None:
    assert ablation_distance([[0.0, 1.0], [0.5, 0.0]], [[0.0, 0.5], [1.0, -1.0]]) == pytest.approx(0.5)


def test_lengths_by_default() -> None:
    assert default_lengths(MINI.group("copy-mqar")) == (6, 8, 12, 16)
    assert default_lengths(MINI.group("add-multiply")) == (2, 4, 6, 8)
    assert default_lengths(MINI.group("maze-path")) == (4, 8, 12, 16)


def test_a_command_that_resumes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["analyze", "heads", "tiny:control", "--examples", "16", "--ablation", "resample", "--length", "4,6"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "repeat_first" in done.stdout
    record = read_analysis(tmp_path / "heads.json", HeadsRecord)
    assert [each.length for each in record.maps] == [4, 4, 6, 6]
    assert len(record.frame()) == 4 * 12
    assert len(record.positions()) == 12 * 2 * (5 + 7)
    assert set(record.distances()["measure"]) == {"ablation", "attention", "attention_of_means"}
    names = {path.name for path in tmp_path.iterdir()}
    assert {"heads-maps.csv", "heads-resample-exact.svg", "heads-distances.csv"} <= names
    assert len(pd.read_csv(tmp_path / "heads-maps.csv")) == 48
    # Half of it is done: the rest is computed, and the whole is the same.
    half = record.model_copy(update={"data": record.data[:2], "maps": record.maps[:2], "attention": ()})
    whole = record.model_copy(update={"attention": record.attention[1:]})
    (tmp_path / "heads.json").write_text(half.model_dump_json())
    again = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path)], catch_exceptions=False)
    assert "length 4" not in again.stderr
    assert "length 6" in again.stderr
    assert read_analysis(tmp_path / "heads.json", HeadsRecord) == whole
    other = CliRunner().invoke(app, [*arguments, "--task", "repeat_first", "-o", str(tmp_path)])
    assert isinstance(other.exception, LgbenchError)
    assert "holds another analysis: its tasks is ('capitalize_reverse', 'repeat_first')" in str(other.exception)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"tasks": ["mqar"]}, "was not trained on 'mqar'"),
        ({"lengths": [1], "examples": 256}, "too few prompts of length 1"),
    ],
)
def test_what_cannot_be_asked(options: dict[str, Any], sentence: str, tiny: Opened) -> None:
    with pytest.raises(LgbenchError, match=sentence):
        analyze_heads(tiny, **options)


def test_models_without_heads_of_ours(tmp_path: Path) -> None:
    copied = tmp_path / "checkpoint"
    shutil.copytree(checkpoint_folder("tiny:transfer"), copied)
    record = (copied / "checkpoint.json").read_text("utf-8")
    assert open_model(str(tmp_path)).source.model == str(tmp_path)
    start = record.index(' "architecture"')
    end = record.index(' "build"')
    text = record[:start] + ' "architecture": null,\n' + record[end:].replace("null", '"my_gru.py:build"')
    (copied / "checkpoint.json").write_text(text)
    with pytest.raises(LgbenchError, match="reference models only"):
        open_model(str(copied))
    (copied / "checkpoint.json").write_text(record.replace('"vocabulary_version": 1', '"vocabulary_version": 2'))
    with pytest.raises(LgbenchError, match="vocabulary version 2"):
        open_model(str(copied))
    with pytest.raises(LgbenchError, match="holds no checkpoint"):
        open_model(str(tmp_path / "nothing"))
