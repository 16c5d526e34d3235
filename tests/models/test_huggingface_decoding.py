"""Greedy decoding with `transformers` models of several architectures: batches, parts and caps."""

from __future__ import annotations

import itertools
import json
import signal
import string
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import (
    AutoModelForCausalLM,
    GenerationConfig,
    GPT2Config,
    MambaConfig,
    MistralConfig,
    WatermarkingConfig,
)

from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.models.huggingface.decoding import Decoder, Row, Written
from lgbench.models.huggingface.parallel import ParallelDecoder, make_decoder
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError
from tests.architectures import make_model, save_model

SMALL = {"vocab_size": 80, "hidden_size": 16, "num_hidden_layers": 2, "initializer_range": 0.5}
MODELS = {
    "gpt2": GPT2Config(vocab_size=80, n_embd=16, n_layer=2, n_head=2, initializer_range=0.5),
    "sliding": MistralConfig(
        **SMALL, intermediate_size=32, num_attention_heads=4, num_key_value_heads=2, sliding_window=8
    ),
    "mamba": MambaConfig(**SMALL, state_size=4),
}


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("kind", MODELS)
def test_decoding_in_batches_changes_nothing_for_any_architecture(kind: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MODELS[kind]).double().eval()
    rows = [Row([5 + (7 * row + place) % 70 for place in range(3 + row)], cap=4 + 2 * row) for row in range(9)]
    decode = Decoder(model, ends=frozenset({3, 40, 41, 42, 43, 44}), pad=0)
    together = decode(rows)
    assert together == [decode([row])[0] for row in rows]
    for row, written in zip(rows, together, strict=True):
        tokens = torch.tensor([row.tokens])
        output = model.generate(
            tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            max_new_tokens=row.cap,
            eos_token_id=[3, 40, 41, 42, 43, 44],
            pad_token_id=0,
        )
        new = output[0, len(row.tokens) :].tolist()
        ended = new[-1] in (3, 40, 41, 42, 43, 44)
        assert (written.tokens, written.capped) == (new[:-1] if ended else new, not ended)
    assert len({len(written.tokens) for written in together}) > 1


# What a model's generation_config.json may hold, each of which changes what `generate` writes.
SETTINGS: dict[str, dict[str, Any]] = {
    "penalty": {"repetition_penalty": 1.5},
    "repeats": {"no_repeat_ngram_size": 1},
    "forbidden": {"bad_words_ids": [[token] for token in range(5, 60)]},
    "suppressed": {"suppress_tokens": list(range(5, 60)), "begin_suppress_tokens": list(range(60, 75))},
    "forced": {"forced_bos_token_id": 7, "forced_eos_token_id": 3},
    "minimum": {"min_length": 40, "min_new_tokens": 9},
    "ends": {"eos_token_id": list(range(5, 70)), "pad_token_id": 9},
    "sampling": {"do_sample": True, "temperature": 3.0, "top_k": 0, "top_p": 0.9},
    "beams": {"num_beams": 3, "length_penalty": 3.0, "early_stopping": True},
    "length": {"max_length": 4, "max_new_tokens": 2, "max_time": 0.0},
    "watermark": {"watermarking_config": {"greenlist_ratio": 0.1, "bias": 50.0}},
    "form": {"return_dict_in_generate": True, "output_scores": True, "output_logits": True},
    "cache": {"use_cache": False},
    "bias": {"sequence_bias": [[[5], 90.0]], "renormalize_logits": True, "exponential_decay_length_penalty": [1, 9.0]},
    "stop": {"stop_strings": ["a"], "prompt_lookup_num_tokens": 2},
}


@pytest.mark.parametrize("kind", ["mamba", "gpt2"])
def test_a_models_own_generation_settings_change_no_reply(kind: str) -> None:
    model = make_model(MODELS[kind])
    rows = [Row([5 + (7 * row + place) % 70 for place in range(3 + row)], cap=12) for row in range(5)]
    model.generation_config = GenerationConfig()
    plain = make_decoder(model, ends=frozenset({3}), pad=0)(rows)
    assert max(len(written.tokens) for written in plain) == 12
    for name, settings in SETTINGS.items():
        own = GenerationConfig()
        for key, value in settings.items():  # as a file brings them, which is not checked for sense
            setattr(own, key, WatermarkingConfig(**value) if name == "watermark" else value)
        model.generation_config = own
        assert make_decoder(model, ends=frozenset({3}), pad=0)(rows) == plain, name
        assert model.generation_config is own


@pytest.mark.parametrize("place", ["generation_config.json", "config.json"])
def test_settings_in_a_models_files_change_no_reply_but_its_end_tokens_do(place: str, tmp_path: Path) -> None:
    size = {**SMALL, "vocab_size": 85}
    folder = save_model(tmp_path, MambaConfig(**size, state_size=4, eos_token_id=2), generation={"eos_token_id": 2})
    prompts = [example.prompt for example in draw_cell(load_suite("mini-v1"), "reverse_add", 4)[:6]]

    def replies() -> list[str]:
        predictor: Any = load_model(f"hf:{folder}").predictor
        return list(predictor.predict(prompts, "reverse_add"))

    plain, settings = replies(), json.loads((folder / place).read_text("utf-8"))
    changed = settings | {"repetition_penalty": 1.7, "no_repeat_ngram_size": 2, "min_length": 300}
    (folder / place).write_text(json.dumps(changed), encoding="utf-8")
    assert replies() == plain
    ending = {"eos_token_id": [2, *range(4, 40)]}  # all small letters
    (folder / "generation_config.json").write_text(json.dumps(ending), encoding="utf-8")
    assert all(not set(reply) & set(string.ascii_lowercase[:26]) for reply in replies())


@pytest.mark.parametrize("ends", ["2", [[2]], {"</s>": 2}, True, 2.5])
def test_end_tokens_that_are_no_numbers_are_told(ends: object, tmp_path: Path) -> None:
    config = MambaConfig(**{**SMALL, "vocab_size": 85}, state_size=4, eos_token_id=2)
    folder = save_model(tmp_path, config, generation={"eos_token_id": ends})
    with pytest.raises(LgbenchError, match=r"not numbers: .*Correct eos_token_id in its generation_config\.json"):
        load_model(f"hf:{folder}")


@pytest.mark.parametrize("kind", ["gpt2", "sliding"])
@pytest.mark.parametrize("count", [1, 33, 96, 101])
def test_parts_side_by_side_change_nothing(kind: str, count: int) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MODELS[kind]).double().eval()
    rows = [Row([5 + (7 * row + place) % 70 for place in range(4 + row % 3)], cap=5) for row in range(count)]
    settings: dict[str, Any] = {"ends": frozenset({3, 40, 41, 42}), "pad": 0}
    torch.set_num_threads(3)
    try:
        decode = make_decoder(model, **settings)
        assert isinstance(decode, ParallelDecoder)
        together = decode(rows)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert together == Decoder(model, **settings)(rows)


def test_parts_share_the_weights_and_nothing_else() -> None:
    model = AutoModelForCausalLM.from_config(MODELS["sliding"])
    torch.set_num_threads(2)
    try:
        decode = make_decoder(model, ends=frozenset(), pad=0)
        alone = make_decoder(AutoModelForCausalLM.from_config(MODELS["mamba"]), ends=frozenset(), pad=0)
    finally:
        torch.set_num_threads(1)
    assert isinstance(alone, Decoder)
    assert isinstance(make_decoder(model, ends=frozenset(), pad=0), Decoder)
    assert isinstance(decode, ParallelDecoder)
    rows = [Row([5, 6, 7 + row], cap=4) for row in range(5)]
    assert decode.each_alone(rows) == [alone for row in rows for alone in decode([row])]
    first, second = (each._model for each in decode._decoders)
    assert all(a is b for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not {id(module) for module in first.modules()} & {id(module) for module in second.modules()}


def test_parts_ask_each_row_alone() -> None:
    decoders = [Decoder(AutoModelForCausalLM.from_config(MODELS["gpt2"]), ends=frozenset(), pad=0) for _ in range(2)]
    asked: list[tuple[int, int]] = []

    def worker(number: int) -> Any:
        def decode(rows: Sequence[Row], give_up: threading.Event) -> list[Written]:
            asked.append((number, len(rows)))
            return [Written(list(row.tokens), capped=False) for row in rows]

        return decode

    parallel = ParallelDecoder(decoders, threads=2)
    parallel._decoders = [worker(0), worker(1)]
    rows = [Row([row], cap=1) for row in range(5)]
    assert [written.tokens for written in parallel.each_alone(rows)] == [[row] for row in range(5)]
    assert sorted(asked) == [(0, 1)] * 3 + [(1, 1)] * 2


def test_a_part_that_runs_out_of_memory_fails_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    decoders = [Decoder(AutoModelForCausalLM.from_config(MODELS["gpt2"]), ends=frozenset(), pad=0) for _ in range(2)]

    def fail(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(decoders[1], "_forward", fail)
    decode = ParallelDecoder(decoders, threads=2)
    assert len(decode([Row([5, 6], cap=2)] * 32)) == 32
    with pytest.raises(torch.OutOfMemoryError):
        decode([Row([5, 6], cap=2)] * 64)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no room"), None], ids=["out of memory", "Ctrl-C"])
def test_parts_do_not_work_on_for_nobody(monkeypatch: pytest.MonkeyPatch, error: Exception | None) -> None:
    decoders = [Decoder(AutoModelForCausalLM.from_config(MODELS["gpt2"]), ends=frozenset(), pad=0) for _ in range(2)]
    forward = decoders[0]._forward
    begun, steps, fails = threading.Event(), itertools.count(), itertools.count()
    main, threads = threading.get_ident(), threading.active_count()

    def step(*given: Any) -> torch.Tensor:
        next(steps)
        begun.set()
        time.sleep(0.05)
        return forward(*given)

    def fail(*given: Any) -> torch.Tensor:
        assert begun.wait(30)
        if error is not None:
            raise error
        if next(fails) == 0:
            signal.pthread_kill(main, signal.SIGINT)
        return forward(*given)

    monkeypatch.setattr(decoders[0], "_forward", step)
    monkeypatch.setattr(decoders[1], "_forward", fail)
    with pytest.raises(KeyboardInterrupt if error is None else type(error)):
        ParallelDecoder(decoders, threads=2)([Row([5, 6], cap=60)] * 64)
    assert next(steps) < 60
    assert threading.active_count() == threads, "nothing works on behind the error"
    assert torch.get_num_threads() == 1


def test_logits_that_are_no_numbers_stop_the_run() -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MODELS["gpt2"]).eval()
    with torch.no_grad():
        model.transformer.wpe.weight[6] = torch.nan  # so only when the third token is written
    decode = Decoder(model, ends=frozenset(), pad=0)
    assert len(decode([Row([5, 6, 7, 8], cap=3)])[0].tokens) == 3
    with pytest.raises(LgbenchError, match="float32 are not numbers"):
        decode([Row([5, 6, 7, 8], cap=4)])


def test_logits_of_generate_that_are_no_numbers_stop_the_run() -> None:
    model = AutoModelForCausalLM.from_config(MODELS["mamba"]).eval()
    decode = Decoder(model, ends=frozenset(), pad=0)
    assert not decode.stepwise
    assert len(decode([Row([5, 6, 7, 8], cap=3)])[0].tokens) == 3
    with torch.no_grad():
        next(model.backbone.parameters()).fill_(torch.nan)
    with pytest.raises(LgbenchError, match="float32 are not numbers"):
        decode([Row([5, 6, 7, 8], cap=3)])


def test_a_stop_ends_a_row() -> None:
    torch.manual_seed(0)
    for config in (MODELS["gpt2"], MODELS["mamba"]):
        model = AutoModelForCausalLM.from_config(config).double().eval()
        rows = [Row([5, 6, 7 + row], cap=9) for row in range(4)]
        assert [len(each.tokens) for each in Decoder(model, ends=frozenset(), pad=0)(rows)] == [9] * 4
        stopping = Decoder(model, ends=frozenset(), pad=0, stops=lambda new: len(new) == 5)
        assert [(len(each.tokens), each.capped) for each in stopping(rows)] == [(5, False)] * 4
