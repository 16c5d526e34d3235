"""How far a Hugging Face model reads: replies are cut there and counted, and nothing fails in the middle of a run."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
from transformers import (
    BartConfig,
    BloomConfig,
    CTRLConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MptConfig,
    OpenAIGPTConfig,
    OPTConfig,
    Phi3Config,
    RobertaConfig,
)

from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import rescore
from lgbench.models.huggingface.batching import Batcher
from lgbench.models.huggingface.decoding import Decoder, Row, Written
from lgbench.models.huggingface.limits import ContextLimit, rope_switch
from lgbench.models.loading import load_model
from tests.architectures import make_model, save_model

GPT = {"vocab_size": 85, "n_embd": 16, "n_layer": 2, "n_head": 2}
BERT = {
    "vocab_size": 85, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "is_decoder": True,
}  # fmt: skip
LLAMA = {**BERT, "num_key_value_heads": 2, "pad_token_id": 0}
MPT = {"d_model": 16, "n_heads": 2, "n_layers": 2, "vocab_size": 85}
LIMITED = {
    "gpt2": GPT2Config(**GPT, n_positions=20),
    "gptj": GPTJConfig(**GPT, rotary_dim=4, n_positions=20),
    "openai": OpenAIGPTConfig(**GPT, n_positions=20),
    "ctrl": CTRLConfig(**GPT, dff=32, n_positions=20),
    "mpt": MptConfig(**MPT, max_seq_len=20),
    "neo": GPTNeoConfig(
        vocab_size=85, hidden_size=16, num_layers=2, num_heads=2, attention_types=[[["global", "local"], 1]],
        max_position_embeddings=20,
    ),
    "opt": OPTConfig(
        vocab_size=85, hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=16,
        max_position_embeddings=20,
    ),
    "bart": BartConfig(
        vocab_size=85, d_model=16, decoder_layers=2, decoder_attention_heads=2, decoder_ffn_dim=32, is_decoder=True,
        is_encoder_decoder=False, max_position_embeddings=20,
    ),
    "roberta": RobertaConfig(**BERT, max_position_embeddings=22, pad_token_id=1),  # two places are for padding
}  # fmt: skip


@pytest.mark.parametrize("kind", LIMITED)
def test_rows_reach_the_limit_and_no_further(kind: str) -> None:
    model = make_model(LIMITED[kind])
    limit = ContextLimit(model)
    assert [limit.below(tokens) for tokens in (19, 20, 21, 500)] == [None, None, 20, 20]
    decode = Decoder(model, ends=frozenset(), pad=0)
    # Of these rows each fits alone, and hardly any two together: the longest prompt and the largest cap exceed 20.
    rows = [Row([5 + (7 * row + place) % 70 for place in range(19 - 2 * row)], cap=1 + 2 * row) for row in range(10)]
    rows = [Row([5] * 30, cap=0), *rows]
    batches = list(Batcher(model).run(rows, decode))
    assert [written for _, batch in batches for written in batch] == [decode([row])[0] for row in rows]
    assert batches[0] == (0, [Written([], capped=True)])
    assert len(batches[-1][1][-1].tokens) == 19


def test_rows_that_fit_together_go_together() -> None:
    batcher = Batcher(make_model(LIMITED["mpt"]))
    rows = [
        Row([5] * 12, cap=8),
        Row([5] * 12, cap=8),
        Row([5] * 12, cap=3),
        Row([5] * 10, cap=10),
        Row([5] * 4, cap=9),
    ]
    assert [len(batch) for _, batch in batcher.run(rows, list)] == [3, 2]


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**LLAMA, max_position_embeddings=20, sliding_window=8),
        LlamaConfig(**LLAMA, max_position_embeddings=20),
        BloomConfig(vocab_size=85, hidden_size=16, n_layer=2, n_head=2, seq_length=20),
        MambaConfig(vocab_size=85, hidden_size=16, num_hidden_layers=2, state_size=4),
    ],
    ids=["sliding", "rotary", "alibi", "mamba"],
)
def test_models_that_compute_positions_read_on_and_say_so(config: Any, caplog: pytest.LogCaptureFixture) -> None:
    limit = ContextLimit(make_model(config))
    assert limit.below(20) is None
    assert not caplog.records
    assert [limit.below(tokens) for tokens in (21, 40)] == [None, None]
    told = ["The model was made for at most 20 tokens" in record.getMessage() for record in caplog.records]
    assert told == ([] if config.model_type == "mamba" else [True])


class Odd(torch.nn.Module):
    """A model of somebody's own, with a table of positions of 17 and a configuration that calls it something."""

    def __init__(self, *, in_module: bool = True, **settings: object) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(85, 4)
        table = torch.nn.Embedding(17, 4)
        if in_module:
            self.wpe = table
        self._tables = [table]  # in a list no module is seen
        nested = SimpleNamespace(**settings)
        self.config: Any = SimpleNamespace(llm_config=nested, get_text_config=lambda decoder: self.config)
        self.device = torch.device("cpu")

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.words

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        places: torch.Tensor = self.words(input_ids) + self._tables[0](torch.arange(input_ids.shape[1]))
        return places


@pytest.mark.parametrize(
    ("model", "known"),
    [
        (Odd(max_sequence_length=17), True),
        (Odd(), True),
        (Odd(in_module=False, block_size=17), True),
        (Odd(in_module=False, n_ctx=18), True),
        (Odd(in_module=False), False),
    ],
)
def test_limits_under_other_names_and_in_nested_configurations(model: Odd, known: bool) -> None:
    assert ContextLimit(model).below(30) == (17 if known else None)


@pytest.mark.parametrize("settings", [{"max_seq_len": 64}, {"max_seq_len": 30}])
def test_a_run_beyond_the_limit_counts_its_replies_as_capped(settings: dict[str, int], tmp_path: Path) -> None:
    model = load_model(f"hf:{save_model(tmp_path / 'mpt', MptConfig(**MPT, **settings, eos_token_id=2))}")
    result = evaluate(model, tasks=["shortest_path", "mqar"], lengths=[4, 8, 24], limit=6, output=tmp_path / "run")
    assert sum(cell.counts.capped for cell in result.cells) > 12
    assert result.batch_invariance is not None
    assert result.batch_invariance.changed == 0
    assert rescore(tmp_path / "run").result == result


def test_rotations_that_depend_on_the_longest_row(caplog: pytest.LogCaptureFixture) -> None:
    phi: dict[str, Any] = {**LLAMA, "max_position_embeddings": 64}
    scaled = {"rope_theta": 10000.0, "original_max_position_embeddings": 16}
    longrope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [8.0] * 4}
    dynamic = {"rope_type": "dynamic", "factor": 8.0, "rope_theta": 10000.0}
    with caplog.at_level(logging.ERROR):
        configs = [
            Phi3Config(**phi, original_max_position_embeddings=16, rope_parameters=longrope | scaled),
            LlamaConfig(**{**LLAMA, "max_position_embeddings": 16}, rope_parameters=dynamic),
        ]
    for config in configs:
        model = make_model(config)
        assert rope_switch(model) == 16
        decode = Decoder(model, ends=frozenset(), pad=0)
        rows = [Row([5 + (7 * row + place) % 70 for place in range(22 - 2 * row)], cap=6) for row in range(10)]
        alone = [decode([row])[0] for row in rows]
        assert decode(rows) != alone
        batches = [batch for _, batch in Batcher(model).run(rows, decode)]
        assert [written for batch in batches for written in batch] == alone
        assert [len(batch) for batch in batches] == [1, 1, 1, 1, 1, 1, 4]
        assert decode(rows[:1]) == alone[:1]
    assert rope_switch(make_model(LlamaConfig(**LLAMA))) is None
