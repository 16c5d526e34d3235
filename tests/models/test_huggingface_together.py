"""Models whose replies depend on the prompts beside them: found out before a run, and asked so that they do not."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import (
    BartConfig,
    FalconConfig,
    GPT2Config,
    JambaConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    RecurrentGemmaConfig,
    RobertaConfig,
    RwkvConfig,
)

from benchmarks.llama import make_tokenizer
from lgbench.data.suites import load_suite
from lgbench.doctor.examining import examine
from lgbench.evaluation.evaluator import evaluate
from lgbench.models.huggingface.decoding import Decoder, Row
from lgbench.models.huggingface.trial import Together, find_together
from lgbench.models.loading import load_model
from tests.architectures import make_model, save_model

SIZE: dict[str, Any] = {"vocab_size": 85, "hidden_size": 16, "num_hidden_layers": 2}
HEADS: dict[str, Any] = {"num_attention_heads": 2, "intermediate_size": 32}
GPT2 = GPT2Config(vocab_size=85, n_embd=16, n_layer=2, n_head=2)
RWKV = RwkvConfig(**SIZE, attention_hidden_size=16, eos_token_id=2)  # its state mixes the rows of a batch
BART = BartConfig(
    vocab_size=85, d_model=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32, is_decoder=True,
    is_encoder_decoder=False, eos_token_id=2, forced_eos_token_id=None, max_position_embeddings=4096,
)  # fmt: skip  # counts padding in its positions
ROBERTA = RobertaConfig(**SIZE, **HEADS, is_decoder=True, max_position_embeddings=512)  # begins to count at 2
RECURRENT = RecurrentGemmaConfig(**{**SIZE, "num_hidden_layers": 3}, **HEADS, lru_width=16, attention_window_size=8)
KINDS: dict[str, tuple[Any, Together]] = {
    "gpt2": (GPT2, "any"),
    "sliding": (MistralConfig(**SIZE, **HEADS, num_key_value_heads=2, sliding_window=8), "any"),
    "alibi": (FalconConfig(**SIZE, num_attention_heads=2, alibi=True), "any"),
    "mamba": (MambaConfig(**SIZE, state_size=4), "any"),
    "hybrid": (
        JambaConfig(
            **SIZE, **HEADS, num_key_value_heads=2, use_mamba_kernels=False, attn_layer_period=2, attn_layer_offset=1,
            num_experts=2, mamba_d_state=4,
        ),
        "any",
    ),
    "bart": (BART, "equal"),
    "roberta": (ROBERTA, "equal"),
    "recurrent": (RECURRENT, "equal"),
    "rwkv": (RWKV, "none"),
}  # fmt: skip
TOKENS = [5 + 7 * place * place % 70 for place in range(40)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_may_go_together_is_found_by_trying(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    config, right = KINDS[kind]
    assert find_together(make_model(config), TOKENS, pad=0) == right
    told = [record.getMessage() for record in caplog.records if record.name.startswith("lgbench")]
    assert len(told) == (right != "any")
    assert all(("equal numbers of tokens are asked together" in text) == (right == "equal") for text in told)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("kind", ["gpt2", "sliding", "bart"])
def test_rounding_is_no_difference(kind: str, dtype: torch.dtype) -> None:
    config, right = KINDS[kind]
    assert find_together(make_model(config).to(dtype), TOKENS, pad=0) == right


def test_noise_of_the_size_of_rounding_is_no_difference() -> None:
    model = make_model(GPT2)
    head, noise = model.lm_head, 1e-5
    model.lm_head.register_forward_hook(lambda *given: given[2] + noise * len(given[2]) * head.weight[:, 0].std())
    assert find_together(model, TOKENS, pad=0) == "any"
    noise = 1.0
    assert find_together(model, TOKENS, pad=0) == "none"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_tokens_suffice_to_try(count: int) -> None:
    assert find_together(make_model(GPT2), TOKENS[:count], pad=0) == "any"


@pytest.mark.parametrize(("places", "right"), [(3, "any"), (4, "any"), (5, "equal"), (30, "equal")])
def test_the_trial_keeps_to_the_limit(places: int, right: str) -> None:
    config = BartConfig(**{**BART.to_dict(), "max_position_embeddings": places})
    assert find_together(make_model(config), TOKENS, pad=0) == right


def test_a_model_that_cannot_take_several_prompts_is_asked_one_at_a_time() -> None:
    model = make_model(GPT2)

    def one_only(module: Any, given: Any, named: dict[str, torch.Tensor]) -> None:
        if len(named["input_ids"]) > 1:
            raise ValueError("one at a time, please")

    model.register_forward_pre_hook(one_only, with_kwargs=True)
    assert find_together(model, TOKENS, pad=0) == "none"


def test_positions_of_a_models_own_are_left_to_it() -> None:
    model = make_model(ROBERTA)
    tokens = TOKENS[:9]
    (written,) = Decoder(model, ends=frozenset(), pad=0)([Row(tokens, cap=5)])
    for place, token in enumerate(written.tokens):
        logits = model(input_ids=torch.tensor([[*tokens, *written.tokens[:place]]])).logits
        assert logits[0, -1].argmax() == token


def make_paired(folder: Path, config: Any) -> Path:
    """A model whose tokenizer joins some digits, so that prompts of a length have different numbers of tokens."""
    from tokenizers import Regex, pre_tokenizers

    pairs = ["12", "34", "56", "78", "90", "11", "22", "33"]
    tokenizer = make_tokenizer()
    inner = tokenizer.backend_tokenizer
    tokenizer.add_tokens(pairs)
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    config.vocab_size = len(tokenizer)
    return save_model(folder, config, tokenizer=tokenizer)


@pytest.mark.parametrize(("config", "told"), [(RWKV, "one prompt at a time"), (BART, "equal numbers"), (GPT2, None)])
def test_a_run_gets_the_replies_of_each_prompt_alone(
    config: Any, told: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_paired(tmp_path, config)
    with caplog.at_level(logging.WARNING):
        result = evaluate(load_model(f"hf:{folder}"), tasks=["reverse_add"], lengths=[2, 4], limit=8)
    predictor: Any = load_model(f"hf:{folder}").predictor
    rows = [predictor._row(f"{number}+{number + 12}=", "reverse_add") for number in (1212, 5077, 3490)]
    assert len({len(row.tokens) for row in rows}) > 1, "else this would prove nothing"
    assert result.batch_invariance is not None
    assert (result.batch_invariance.checked, result.batch_invariance.changed) == (16, 0)
    warnings = [record.getMessage() for record in caplog.records if "asked" in record.getMessage()]
    assert [bool(told and told in text) for text in warnings] == ([True] if told else [])


def test_the_doctor_finds_nothing_where_the_batches_are_right(tmp_path: Path) -> None:
    model = load_model(f"hf:{make_paired(tmp_path, RWKV)}")
    names = ("in the order of the prompts", "the same one by one", "the same among longer prompts")
    findings = examine(model, suite=load_suite("mini-v1"), tasks=["reverse_add"], seconds=1e6)
    found: dict[str, str] = {}
    while not found.keys() >= set(names):
        each = next(findings)
        found[each.check] = each.state
    assert [found[name] for name in names] == ["ok", "ok", "ok"]


def test_a_llama_still_goes_in_large_batches(tmp_path: Path) -> None:
    predictor: Any = load_model(f"hf:{make_paired(tmp_path, LlamaConfig(**SIZE, **HEADS))}").predictor
    predictor.prepare(load_suite("mini-v1"), ["reverse_add"])
    parts = list(predictor.stream([f"{number}+{number + 12}=" for number in range(1200, 1240)], "reverse_add"))
    assert [len(part) for part in parts] == [40]
