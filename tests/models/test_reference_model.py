"""The tokenizer, the transformer, greedy decoding and checkpoints."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from pydantic import ValidationError
from torch import Tensor, nn

from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.models import checkpoint as checkpoints
from lgbench.models import decoding
from lgbench.models.architecture import Architecture
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.contract import CappedReply
from lgbench.models.decoding import greedy, make_reader
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.models.tokenizer import END, PUBLISHED, VOCABULARY_VERSION
from lgbench.models.transformer import Block, KeyValueCache, Transformer
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")


def tiny(position: str = "rope", *, seed: int = 0, layers: int = 2, head_size: int | None = None) -> Transformer:
    shape = Architecture(
        layers=layers,
        heads=2,
        width=16,
        hidden=24,
        theta=1e4,
        position=position,  # type: ignore[arg-type]
        head_size=head_size,
    )
    torch.manual_seed(seed)
    model = Transformer(shape, len(PUBLISHED))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


def record(model: Transformer, **changes: object) -> checkpoints.CheckpointRecord:
    fields = {
        "vocabulary_version": VOCABULARY_VERSION,
        "vocabulary_size": len(PUBLISHED),
        "architecture": model.shape,
        "build": None,
        "suite": "mini-v1",
        "group": "copy-mqar",
        "arm": "transfer",
        "seed": 0,
        "steps": 5,
    }
    return checkpoints.CheckpointRecord.model_validate(fields | changes)


def test_the_vocabulary_is_frozen_under_its_version() -> None:
    # A change here means a new VOCABULARY_VERSION: the weights of every published checkpoint depend on it.
    assert VOCABULARY_VERSION == 1
    assert len(PUBLISHED) == len(set(PUBLISHED.tokens)) == 152
    assert PUBLISHED.tokens[:4] == ("<pad>", "<begin>", "<end>", "<reverse_add>")
    assert PUBLISHED.tokens[17:20] == ("<node_list>", "0", "1")
    assert PUBLISHED.tokens[149:152] == ("[62]", "[63]", "[64]")
    written = "\n".join(PUBLISHED.tokens[:152]).encode()
    assert hashlib.sha256(written).hexdigest() == "ec31fe07d774f3cf4af6e942ebe5ae9e55c9edf72b98d3b554e9fe5dfe376f7d"


@pytest.mark.parametrize("task", [task.name for task in MINI.tasks])
def test_every_task_can_be_written(task: str) -> None:
    for length in (MINI.grid(task)[0], MINI.grid(task)[-1]):
        for example in draw_cell(MINI, task, length, split="shots"):
            assert PUBLISHED.decode(PUBLISHED.encode(example.prompt)) == example.prompt
            assert PUBLISHED.decode(PUBLISHED.encode(example.target)) == example.target
    assert PUBLISHED.tokens[PUBLISHED.encode_prompt(task, "")[1]] == f"<{task}>"


def test_text_outside_the_vocabulary_is_refused() -> None:
    with pytest.raises(LgbenchError, match=r"cannot read '!'"):
        PUBLISHED.encode("ab!")
    with pytest.raises(LgbenchError, match=r"cannot read '\[65\]'"):
        PUBLISHED.encode("[65]")
    with pytest.raises(LgbenchError, match="no tag for the task 'sorting'"):
        PUBLISHED.encode_prompt("sorting", "ab=")


def rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6) * weight


def turned(x: Tensor, theta: float) -> Tensor:
    """Rotary embedding with complex numbers: pair (i, i + size/2) times exp(i * angle). Shape (time, size)."""
    time, size = x.shape
    frequencies = torch.tensor([theta ** (-2 * i / size) for i in range(size // 2)])
    angles = torch.arange(time)[:, None] * frequencies
    pairs = torch.complex(x[:, : size // 2], x[:, size // 2 :]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((pairs.real, pairs.imag), dim=-1)


@pytest.mark.parametrize("position", ["rope", "nope"])
@pytest.mark.parametrize("head_size", [None, 6])
def test_the_forward_pass_is_the_textbook_one(position: str, head_size: int | None) -> None:
    model = tiny(position, head_size=head_size)
    size = head_size or 8
    tokens = torch.randint(0, len(PUBLISHED), (9,))
    x = model.embedding.weight[tokens]
    for block in model.blocks:
        assert isinstance(block, Block)
        h = rms(x, block.attention_norm.weight) @ block.attention.qkv.weight.T
        q, k, v = torch.split(h, 2 * size, dim=-1)
        mixed = []
        for head in (slice(0, size), slice(size, 2 * size)):
            qh, kh = q[:, head], k[:, head]
            if position == "rope":
                qh, kh = turned(qh, 1e4), turned(kh, 1e4)
            scores = (qh @ kh.T / size**0.5).masked_fill(torch.ones(9, 9).triu(1).bool(), float("-inf"))
            mixed.append(scores.softmax(-1) @ v[:, head])
        x = x + torch.cat(mixed, -1) @ block.attention.out.weight.T
        gate, up = torch.split(rms(x, block.feed_forward_norm.weight) @ block.feed_forward.gate_up.weight.T, 24, dim=-1)
        x = x + (gate * torch.sigmoid(gate) * up) @ block.feed_forward.down.weight.T
    expected = rms(x, model.norm.weight) @ model.head.weight.T
    torch.testing.assert_close(model(tokens[None])[0], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("position", ["rope", "nope"])
@pytest.mark.parametrize("head_size", [None, 6])
def test_the_cache_changes_no_logits(position: str, head_size: int | None) -> None:
    model = tiny(position, head_size=head_size)
    cache = KeyValueCache(2)
    # Memory is rounded up to 16 tokens: the second batch uses that of the first again, the third outgrows it twice.
    for rows, time in ((4, 14), (3, 12), (3, 40)):
        tokens = torch.randint(0, len(PUBLISHED), (rows, time))
        cache.begin(capacity=3)
        pieces = [model(tokens[:, :5], cache)] + [model(tokens[:, i : i + 1], cache) for i in range(5, time)]
        torch.testing.assert_close(torch.cat(pieces, dim=1), model(tokens)[:, 4:], atol=1e-4, rtol=1e-4)


def test_a_cache_may_be_used_from_the_start() -> None:
    model, tokens = tiny(), torch.randint(0, len(PUBLISHED), (2, 20))
    torch.testing.assert_close(model(tokens, KeyValueCache(2)), model(tokens)[:, -1:], atol=1e-4, rtol=1e-4)


def test_without_positions_the_order_of_what_came_before_is_lost() -> None:
    shuffled = torch.tensor([[7, 5, 6, 8]])
    tokens = torch.tensor([[5, 6, 7, 8]])
    for position, same in (("rope", False), ("nope", True)):
        model = tiny(position, layers=1)  # in a deeper one the causal mask tells positions apart
        assert torch.allclose(model(tokens)[:, -1], model(shuffled)[:, -1], atol=1e-5) == same


def test_greedy_replies_are_those_of_whole_passes_at_every_batch_size() -> None:
    model = tiny(seed=3)
    with torch.no_grad():
        model.head.weight[END] *= 4  # so that rows end, and not all at once
    prompts = torch.randint(3, 60, (12, 6))
    whole = []
    for row in prompts.tolist():
        written: list[int] = []
        while len(written) < 20 and END not in written:
            written.append(int(model(torch.tensor([row + written]))[0, -1].argmax()))
        whole.append(written)
    assert len({len(each) for each in whole}) > 1, "rows should end at different times"
    assert greedy(make_reader(model), prompts, 20) == whole
    for size in (1, 5):
        parts = [greedy(make_reader(model), prompts[start : start + size], 20) for start in range(0, 12, size)]
        assert [row for part in parts for row in part] == whole


def test_a_reader_keeps_nothing_of_the_batch_before() -> None:
    model = tiny(seed=3)
    with torch.no_grad():
        model.head.weight[END] *= 4
    reader = make_reader(model)
    batches = [torch.randint(3, 60, shape) for shape in ((12, 6), (5, 20), (12, 3))]
    alone = [greedy(make_reader(model), prompts, 40) for prompts in batches]
    assert [greedy(reader, prompts, 40) for prompts in batches] == alone


def test_rows_that_nobody_wants_end_at_the_next_token() -> None:
    give_up = threading.Event()
    give_up.set()
    written = greedy(make_reader(tiny(seed=3)), torch.randint(3, 60, (4, 6)), 40, give_up=give_up)
    assert [len(row) for row in written] == [1] * 4


def test_near_ties_do_not_depend_on_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `_settle` left out, most of these rows depended on their batch where this was written."""
    settled = 0

    def settle(reader: decoding._CachedReader, sequence: Tensor) -> int:
        nonlocal settled
        settled += 1
        return untouched(reader, sequence)

    untouched = decoding._CachedReader._settle
    monkeypatch.setattr(decoding._CachedReader, "_settle", settle)
    model = tiny(seed=3)
    with torch.no_grad():  # every logit twice, but for the last bits
        twins = model.head.weight[8:80]
        model.head.weight[80:152] = twins + 1e-7 * twins.abs() * torch.randn(twins.shape)
    prompts = torch.randint(3, 60, (30, 6))
    together = greedy(make_reader(model), prompts, 12)
    assert settled > 30
    assert together == [greedy(make_reader(model), prompt[None], 12)[0] for prompt in prompts]


def test_replies_do_not_depend_on_the_cores_that_write_them() -> None:
    prompts = [example.prompt for length in (3, 8) for example in draw_cell(MINI, "string_copy", length)[:90]]
    before = torch.get_num_threads()
    replies = {}
    try:
        for cores in (1, 2, 3):
            torch.set_num_threads(cores)
            replies[cores] = CheckpointPredictor(tiny()).predict(prompts, "string_copy")
            assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)
    assert len(set(replies[1])) > 10
    assert replies[1] == replies[2] == replies[3]


def test_a_module_without_a_cache_gives_the_same_replies() -> None:
    model = tiny(seed=3)

    class Plain(nn.Module):
        def forward(self, tokens: Tensor) -> Tensor:
            logits: Tensor = model(tokens)
            return logits

    prompts = torch.randint(3, 60, (6, 6))
    assert greedy(make_reader(Plain()), prompts, 15) == greedy(make_reader(model), prompts, 15)


def test_a_reply_that_does_not_stop_is_capped_by_its_prompt() -> None:
    model = tiny()
    with torch.no_grad():
        model.head.weight[END] = 0
        model.head.weight[20] = 0
        model.norm.weight[:] = 0
    # All logits are 0: the float64 argmax takes token 0.
    predictor = CheckpointPredictor(model)
    for prompt in ("ab=", "[1]:[2],[2]:[1]?[1]>[2]="):
        (reply,) = predictor.predict([prompt], "string_copy")
        assert isinstance(reply, CappedReply)
        assert reply == "<pad>" * (4 * len(prompt) + 32)


def test_replies_come_in_the_order_of_the_prompts() -> None:
    predictor = CheckpointPredictor(tiny(seed=3))
    prompts = ["abc=", "a=", "xyz=", "abcde=", "q="]
    together = predictor.predict(prompts, "reverse")
    assert together == [predictor.predict([prompt], "reverse")[0] for prompt in prompts]
    assert predictor.predict([], "reverse") == []


def ask_loaded(model: Model, prompts: list[str], *, task: str = "reverse") -> list[str]:
    assert isinstance(model.predictor, CheckpointPredictor)
    return model.predictor.predict(prompts, task)


def test_a_checkpoint_comes_back_whole(tmp_path: Path) -> None:
    model = tiny("nope", seed=5)
    checkpoints.save_checkpoint(tmp_path, model, record(model))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.json", "model.safetensors"]
    loaded = load_model(str(tmp_path))
    assert loaded.system.kind == "checkpoint"
    assert loaded.system.parameters == sum(each.numel() for each in model.parameters())
    prompts = ["abc=", "XyZ="]
    assert ask_loaded(loaded, prompts) == CheckpointPredictor(model).predict(prompts, "reverse")


def test_a_checkpoint_has_the_vocabulary_of_its_suite(tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match=r"no tag for the task 'rotate'\. It has: reverse_add"):
        ask_loaded(load_model("tiny:transfer"), ["hEllO="], task="rotate")

    tokens = (*PUBLISHED.tokens[:3], "<rotate>", *"ab=", "::")
    own = Transformer(tiny().shape, len(tokens))
    described = record(own, vocabulary=tokens, vocabulary_size=len(tokens))
    checkpoints.save_checkpoint(tmp_path, own, described)
    assert checkpoints.read_checkpoint_record(tmp_path) == described
    assert set("".join(ask_loaded(load_model(str(tmp_path)), ["ab="], task="rotate"))) <= set("".join(tokens))
    with pytest.raises(LgbenchError, match=r"no tag for the task 'reverse'\. It has: rotate"):
        ask_loaded(load_model(str(tmp_path)), ["ab="], task="reverse")
    with pytest.raises(LgbenchError, match=r"cannot read 'c' .* its vocabulary has a b = ::\."):
        ask_loaded(load_model(str(tmp_path)), ["cab="], task="rotate")


def test_a_checkpoint_of_the_published_vocabulary_says_nothing_of_its_tokens(tmp_path: Path) -> None:
    model = tiny()
    checkpoints.save_checkpoint(tmp_path, model, record(model))
    assert "vocabulary" not in json.loads((tmp_path / checkpoints.RECORD).read_text("utf-8"))
    more = record(model, vocabulary_size=len(PUBLISHED) + 1)
    checkpoints.save_checkpoint(tmp_path, model, more)
    with pytest.raises(LgbenchError, match="knows 153 tokens; this lgbench has 152"):
        checkpoints.load_module(tmp_path)


@pytest.mark.parametrize(
    ("tokens", "size", "message"),
    [
        (("a", "b"), 2, "must begin with <pad>, <begin>, <end>"),
        (("<pad>", "<begin>", "<end>", "a", "a"), 5, "name each token once"),
        (("<pad>", "<begin>", "<end>", ""), 4, "none of them empty"),
        (("<pad>", "<begin>", "<end>", "a"), 152, r"must have vocabulary_size \(152\) texts"),
    ],
)
def test_a_vocabulary_that_is_none_is_refused(tokens: tuple[str, ...], size: int, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        record(tiny(), vocabulary=tokens, vocabulary_size=size)


def test_damaged_checkpoints_are_told_apart(tmp_path: Path) -> None:
    model = tiny()
    checkpoints.save_checkpoint(tmp_path, model, record(model))
    weights, about = tmp_path / checkpoints.WEIGHTS, tmp_path / checkpoints.RECORD
    whole, described = weights.read_bytes(), about.read_text("utf-8")

    weights.write_bytes(whole[:-100])
    with pytest.raises(LgbenchError, match="truncated"):
        checkpoints.load_module(tmp_path)
    weights.write_bytes(b"\x80\x04 this is a pickle")
    with pytest.raises(LgbenchError, match="not a safetensors file"):
        checkpoints.load_module(tmp_path)
    weights.unlink()
    with pytest.raises(LgbenchError, match=r"no model\.safetensors"):
        checkpoints.load_module(tmp_path)
    weights.write_bytes(whole)

    about.write_text(described.replace('"vocabulary_version": 1', '"vocabulary_version": 7'), encoding="utf-8")
    with pytest.raises(LgbenchError, match=r"has vocabulary version 7; this lgbench has version 1"):
        checkpoints.load_module(tmp_path)
    about.write_text(json.dumps(json.loads(described) | {"pickled": "yes"}), encoding="utf-8")
    with pytest.raises(LgbenchError, match="pickled"):
        checkpoints.load_module(tmp_path)
    about.write_text(described.replace('"hidden": 24', '"hidden": 32'), encoding="utf-8")
    with pytest.raises(LgbenchError, match="do not fit"):
        checkpoints.load_module(tmp_path)
    about.unlink()
    with pytest.raises(LgbenchError, match=r"no checkpoint\.json"):
        checkpoints.load_module(tmp_path)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"width": 90_000, "hidden": 90_000}, r"embedding\.weight has shape \(152, 16\), not \(152, 90000\)"),
        ({"hidden": 100_000}, r"blocks\.0\.feed_forward\.gate_up\.weight has shape"),
        ({"layers": 3}, r"blocks\.2\.\S+ is missing"),
        ({"layers": 1}, r"the model has no 'blocks\.1\.\S+'"),
        ({"layers": 100_000}, r"it has 100,000 layers, the file 15 tensors"),
    ],
)
def test_shapes_are_compared_before_they_take_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, int], detail: str
) -> None:
    def build(*arguments: object) -> Transformer:
        assert torch.get_default_device().type == "meta"
        built: Transformer = make(*arguments)
        return built

    model = tiny()
    checkpoints.save_checkpoint(tmp_path, model, record(model))
    about = json.loads((tmp_path / checkpoints.RECORD).read_text("utf-8"))
    about["architecture"] |= change
    (tmp_path / checkpoints.RECORD).write_text(json.dumps(about), encoding="utf-8")
    make: Any = checkpoints.reference_model
    monkeypatch.setattr(checkpoints, "reference_model", build)
    with pytest.raises(LgbenchError, match=f"do not fit the model that checkpoint.json describes: {detail}"):
        checkpoints.load_module(tmp_path)


def test_a_checkpoint_of_a_users_module_runs_only_code_the_user_names(tmp_path: Path) -> None:
    source = tmp_path / "mine.py"
    source.write_text(
        "from torch import nn\n\n"
        "def build(size):\n"
        "    return nn.Sequential(nn.Embedding(size, 4), nn.Linear(4, size))\n",
        encoding="utf-8",
    )
    torch.manual_seed(0)
    module = nn.Sequential(nn.Embedding(len(PUBLISHED), 4), nn.Linear(4, len(PUBLISHED)))
    folder = tmp_path / "checkpoint"
    about = record(tiny(), architecture=None, build=f"{source}:build")
    checkpoints.save_checkpoint(folder, module, about)
    with pytest.raises(LgbenchError, match="Name it yourself: --model-option build="):
        load_model(str(folder))
    loaded = load_model(str(folder), {"build": f"{source}:build"})
    assert ask_loaded(loaded, ["ab="]) == CheckpointPredictor(module).predict(["ab="], "reverse")
    for body, message in (("return 3", "returned int"), ("raise KeyError(size)", "raised KeyError")):
        other = tmp_path / f"{body.split()[0]}.py"
        other.write_text(f"def build(size):\n    {body}\n", encoding="utf-8")
        with pytest.raises(LgbenchError, match=message):
            load_model(str(folder), {"build": f"{other}:build"})
    with pytest.raises(LgbenchError, match="'quantum' is not a device"):
        load_model(str(folder), {"build": f"{source}:build", "device": "quantum"})


def test_a_finetuned_run_points_to_its_model(tmp_path: Path) -> None:
    about = record(tiny(), architecture=None, build="hf:base")
    checkpoints.save_checkpoint(tmp_path / "checkpoint", tiny(), about)
    with pytest.raises(LgbenchError, match=f"hf:{tmp_path / 'model'}"):
        load_model(str(tmp_path))
