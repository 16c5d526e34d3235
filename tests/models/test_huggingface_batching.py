"""How many prompts a Hugging Face model takes at once, and what becomes of a batch for which memory is too small."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import AutoModelForCausalLM, DynamicCache, GPT2Config, MistralConfig

from benchmarks.llama import make_llama
from lgbench.models.huggingface import batching
from lgbench.models.huggingface.batching import Batcher
from lgbench.models.huggingface.decoding import Row
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError

GPT2 = GPT2Config(vocab_size=80, n_embd=16, n_layer=2, n_head=2)
GROUPED = MistralConfig(
    vocab_size=80, hidden_size=16, num_hidden_layers=3, intermediate_size=32, num_attention_heads=4,
    num_key_value_heads=2,
)  # fmt: skip
GPT2_TOKEN = 2 * 2 * 16 * 4  # bytes: keys and values of two layers of width 16


def make_model(config: Any = GPT2) -> Any:
    return AutoModelForCausalLM.from_config(config)


def sizes_of(batcher: Batcher, rows: Sequence[Row]) -> list[int]:
    return [len(batch) for _, batch in batcher.run(rows, list)]


def have_memory(monkeypatch: pytest.MonkeyPatch, tokens: int) -> None:
    """Let the computer have memory for the cache of so many tokens of GPT2, in the eighth that lgbench takes."""
    monkeypatch.setattr(batching, "_memory", lambda device: 8 * tokens * GPT2_TOKEN)


@pytest.mark.parametrize("config", [GPT2, GROUPED], ids=["gpt2", "grouped"])
def test_the_bytes_of_a_token_are_those_that_the_model_keeps(config: Any) -> None:
    for kind in (torch.float32, torch.bfloat16):
        model = make_model(config).to(kind)
        cache = DynamicCache(config=model.config)
        model(input_ids=torch.tensor([[5, 6, 7]]), past_key_values=cache, use_cache=True)
        kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
        assert batching._cache_bytes_per_token(model) == kept / 3


def test_a_batch_is_as_large_as_the_memory_for_its_longest_row(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    have_memory(monkeypatch, 400)
    assert sizes_of(Batcher(make_model()), [Row([1] * 40, cap=10)] * 20) == [8, 8, 4]
    assert sizes_of(Batcher(make_model()), [Row([1] * 40, cap=10)] * 8 + [Row([1] * 6, cap=4)] * 50) == [8, 40, 10]
    assert sizes_of(Batcher(make_model()), [Row([1], cap=0)] * 600) == [256, 256, 88]
    assert not caplog.records


def test_the_memory_of_a_gpu_is_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {torch.device("cuda:0"): (1, 7), torch.device("cuda:1"): (3, 7)}
    monkeypatch.setattr(torch.cuda, "mem_get_info", free.__getitem__)
    assert batching._memory(torch.device("cuda:1")) == 3
    assert batching._memory(torch.device("cpu")) > 2**20


def test_room_for_one_prompt_only_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    have_memory(monkeypatch, 40)
    batcher = Batcher(make_model())
    assert sizes_of(batcher, [Row([1] * 40, cap=10)]) == [1]
    assert not caplog.records, "there was but one"
    for _ in range(2):
        assert sizes_of(batcher, [Row([1] * 40, cap=10)] * 3) == [1, 1, 1]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith(
        "The memory of cpu has room for one prompt at once, of 50 tokens with its reply: this will be slow."
    )


def test_the_longest_prompts_are_decoded_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor: Any = load_model(f"hf:{make_llama(tmp_path)}").predictor
    decode, batches = predictor._decoder, []

    def recorded(rows: Sequence[Row]) -> Any:
        batches.append([len(row.tokens) for row in rows])
        return decode(rows)

    predictor._decoder = recorded
    monkeypatch.setattr(batching, "_MOST_ROWS", {"cpu": 3, "cuda": 3})
    lengths = [3, 9, 1, 7, 5, 8, 2, 6]
    parts: Iterator[dict[int, str]] = predictor.stream([f"{'a' * length}=" for length in lengths], "reverse")
    positions = [position for part in parts for position in part]
    assert batches == [[10, 9, 8], [7, 6, 4], [3, 2]]
    assert [lengths[position] for position in positions] == [9, 8, 7, 6, 5, 3, 2, 1]


def error_of_the_cpu() -> RuntimeError:
    """What PyTorch raises for more memory than a computer can have."""
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    return caught.value


ERROR_OF_A_MAC = RuntimeError("MPS backend out of memory (MPS allocated: 9.05 GB, max allowed: 9.07 GB).")


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no room"), error_of_the_cpu(), ERROR_OF_A_MAC], ids=["gpu", "cpu", "mac"]
)
def test_out_of_memory_halves_and_keeps_finished_work(error: RuntimeError, caplog: pytest.LogCaptureFixture) -> None:
    model = make_model()
    batcher = Batcher(model)
    rows = [Row([1] * (40 - row), cap=10) for row in range(30)]
    asked: list[int] = []

    def decode(batch: Sequence[Row]) -> list[Row]:
        asked.append(len(batch))
        if len(batch) * (len(batch[0].tokens) + batch[0].cap) > 400:
            raise error
        return list(batch)

    with caplog.at_level(logging.WARNING):
        done = [row for _, batch in batcher.run(rows, decode) for row in batch]
    assert done == rows
    assert asked[:3] == [30, 15, 7]
    assert min(asked) > 1
    assert [record.getMessage() for record in caplog.records] == [
        "Out of memory with 30 prompts at once; going on with 15.",
        "Out of memory with 15 prompts at once; going on with 7.",
    ]


def test_a_batch_that_failed_is_let_go_of_before_its_memory_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    failed: list[weakref.ref[torch.Tensor]] = []
    shrink = Batcher._shrink

    def decode(batch: Sequence[Row]) -> list[Row]:
        hidden = torch.zeros(len(batch))
        if len(batch) > 1:
            failed.append(weakref.ref(hidden))
            raise torch.OutOfMemoryError("no room")
        return list(batch)

    def checked(self: Batcher, batch: Sequence[Row]) -> None:
        assert failed[-1]() is None
        shrink(self, batch)

    monkeypatch.setattr(Batcher, "_shrink", checked)
    assert len(list(Batcher(make_model()).run([Row([1], cap=10)] * 4, decode))) == 4
    assert len(failed) == 2


def test_halving_down_to_one_is_told(caplog: pytest.LogCaptureFixture) -> None:
    def decode(batch: Sequence[Row]) -> list[Row]:
        if len(batch) > 1:
            raise torch.OutOfMemoryError("no room")
        return list(batch)

    assert len(list(Batcher(make_model()).run([Row([1], cap=10)] * 4, decode))) == 4
    assert [record.getMessage().partition(",")[0] for record in caplog.records] == [
        "Out of memory with 4 prompts at once; going on with 2.",
        "Out of memory with 2 prompts at once; going on with 1.",
        "The memory of cpu has room for one prompt at once",
    ]


def test_one_prompt_that_does_not_fit_is_an_error() -> None:
    def decode(batch: Sequence[Row]) -> list[Row]:
        raise torch.OutOfMemoryError("no room")

    batcher = Batcher(make_model())
    with pytest.raises(LgbenchError, match="single prompt with room for 11 tokens does not fit"):
        list(batcher.run([Row([1], cap=10)], decode))


def test_other_errors_of_a_model_are_not_taken_for_memory() -> None:
    def decode(batch: Sequence[Row]) -> list[Row]:
        raise RuntimeError("shapes differ")

    batcher = Batcher(make_model())
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(batcher.run([Row([1], cap=10)], decode))
