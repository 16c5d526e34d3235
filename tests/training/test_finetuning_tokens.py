"""Finetuning trains on the tokens that evaluation sends, whatever rules the pretrained tokenizer has."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from benchmarks.llama import SIGNS, make_llama
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.models.loading import load_model
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training import rehearsal
from lgbench.training.characters import read_characters
from lgbench.training.finetuning import evaluation_template, load_pretrained, save_whole
from lgbench.training.rehearsal import rehearse
from lgbench.util.errors import LgbenchError
from tests.selection import night

MINI = load_suite("mini-v1")
MARKS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
PRINTED = [sign for sign in SIGNS if not sign.isspace()]
GENERAL: Any = transformers.PreTrainedTokenizerFast


def with_prefix(rule: str, *, both: bool, model: str = "bpe") -> Any:
    """A tokenizer like SentencePiece's, which puts `▁` before a text; `both`: it knows `▁h` beside `▁` and `h`.

    It merges within prompts and targets, and across the border between them.
    """
    merges = [("▁", sign) for sign in PRINTED] if both else []
    merges += [("=", "a"), ("a", "b"), ("1", "2")]
    texts = [*MARKS.values(), "▁", *PRINTED, *(first + second for first, second in merges)]
    if model == "bpe":
        vocabulary = {text: number for number, text in enumerate(texts)}
        backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>"))
    else:
        backend = Tokenizer(models.Unigram([(text, -float(3 - len(text))) for text in texts], unk_id=3))
    if rule == "normalizer":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=rule, split=False)
        backend.decoder = decoders.Metaspace(prepend_scheme=rule, split=False)
    return GENERAL(tokenizer_object=backend, **MARKS)


def of_bytes(kind: Any = GENERAL, *, space: bool = False) -> Any:
    """A tokenizer of bytes, like GPT-2's; `space`: it puts one before a text. It opens and closes every text."""
    merges = [("a", "b"), ("=", "a"), ("Ġ", "h"), ("1", "2")]
    texts = [*MARKS.values(), *pre_tokenizers.ByteLevel.alphabet(), *(first + second for first, second in merges)]
    vocabulary = {text: number for number, text in enumerate(texts)}
    if kind is not GENERAL:
        return kind(vocab=vocabulary, merges=merges, add_prefix_space=space, **MARKS)
    backend = Tokenizer(models.BPE(vocabulary, merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=space)
    backend.decoder = decoders.ByteLevel()
    marks = [("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=marks)
    return GENERAL(tokenizer_object=backend, **MARKS)


def of_llama() -> Any:
    """A tokenizer of a class of its own, which builds its rules again whenever it is loaded."""
    merges = [("▁", sign) for sign in PRINTED]
    texts = ["<unk>", "<s>", "</s>", "<pad>", "▁", *PRINTED, *(first + second for first, second in merges)]
    kind: Any = transformers.LlamaTokenizer
    return kind(vocab={text: number for number, text in enumerate(texts)}, merges=merges, pad_token="<pad>")


def with_pieces() -> Any:
    """A tokenizer like BERT's, whose texts have spaces between words."""
    texts = [*MARKS.values(), *PRINTED, *(f"##{sign}" for sign in PRINTED)]
    backend = Tokenizer(models.WordPiece({text: number for number, text in enumerate(texts)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    return GENERAL(tokenizer_object=backend, **MARKS)


def make_model(folder: Path, tokenizer: Any, kind: str = "Llama") -> Path:
    """A model with random weights and this tokenizer."""
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    if kind == "Jamba":
        sizes |= {"attn_layer_period": 1, "attn_layer_offset": 0}  # its own are 8 and 4: the only layer has attention
    config = getattr(transformers, f"{kind}Config")(vocab_size=len(tokenizer), num_key_value_heads=2, **sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        getattr(transformers, f"{kind}ForCausalLM")(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (partial(with_prefix, "normalizer", both=False), "Llama"),
        (partial(with_prefix, "first", both=True), "Llama"),
        (of_llama, "Llama"),
        (of_llama, "Jamba"),
        (of_bytes, "Llama"),
        *night(
            [
                [partial(with_prefix, "normalizer", both=True), "Llama"],
                [partial(with_prefix, "first", both=False), "Llama"],
                [partial(with_prefix, "always", both=True), "Llama"],
                [partial(with_prefix, "always", both=True, model="unigram"), "Llama"],
                [partial(of_bytes, space=True), "Llama"],
                [partial(of_bytes, transformers.GPT2Tokenizer, space=True), "Llama"],
                [partial(of_bytes, transformers.Qwen2Tokenizer), "Qwen2"],
            ]
        ),
    ],
)
def test_training_and_evaluation_rows_are_equal(tmp_path: Path, make: Callable[[], Any], kind: str) -> None:
    folder, run = make_model(tmp_path / "base", make(), kind), tmp_path / "run"
    run.mkdir()
    module, tokenizer = load_pretrained(folder, lora_rank=0)
    for group in ("capitalize-reverse", "maze-path", "add-carry"):
        rehearse(run, module, tokenizer, suite=MINI, group=group)
    assert not list(run.iterdir())

    # Not as the rehearsal compares them: by a model that is written and asked.
    save_whole(copy.deepcopy(module), tokenizer, run)
    template, table = evaluation_template(run), torch.as_tensor(module.table)
    predictor: Any = load_model(f"hf:{run}", {"template": template}).predictor
    for task in ("capitalize_reverse", "shortest_path", "cot_multiply"):
        for example in draw_cell(MINI, task, MINI.grid(task)[-1], split="dev")[:4]:
            (row,) = predictor.rows([example.prompt], task)
            assert row.tokens == table[PUBLISHED.encode_prompt(task, example.prompt)].tolist()
            text = template.replace("{task}", task).replace("{prompt}", example.prompt)
            assert row.tokens == transformers.AutoTokenizer.from_pretrained(run)(text)["input_ids"]
            texts = [predictor._tokenizer.decode([token]) for token in row.tokens]
            assert "".join(texts) == text, "one token for each character, and no other"


def test_the_trained_tokens_have_no_mark_of_a_space() -> None:
    tokenizer, table = read_characters(with_prefix("first", both=True), Path("base"), PUBLISHED)
    words = tokenizer.convert_ids_to_tokens(table[PUBLISHED.encode_prompt("reverse", "hab=")].tolist())
    assert words == ["<s>", "<reverse>", "h", "a", "b", "="]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_pieces, "reads the tokens of '.*' as '.* .*', so no reply to .* would be right"),
        (transformers.ByT5Tokenizer, "is not one of the library tokenizers, whose rules lgbench can change"),
    ],
)
def test_a_tokenizer_that_cannot_be_used_is_refused_for_a_true_reason(
    tmp_path: Path, make: Callable[[], Any], message: str
) -> None:
    folder = make_model(tmp_path, make())
    with pytest.raises(LgbenchError, match=message):
        rehearse(tmp_path, *load_pretrained(folder, lora_rank=0), suite=MINI, group="capitalize-reverse")


def test_a_normalizer_that_changes_letters_leaves_them_no_token_of_their_own() -> None:
    tokenizer = of_bytes()
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(LgbenchError, match="no single token of its own for 'a', 'b'"):
        read_characters(tokenizer, Path("base"), PUBLISHED)
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace("hh", "h_")
    with pytest.raises(LgbenchError, match=r"reads 'hh' as \['h', '_'\]: which token a character has depends on its"):
        read_characters(tokenizer, Path("base"), PUBLISHED)


def test_one_character_that_is_unknown_is_told(tmp_path: Path) -> None:
    make_llama(tmp_path, signs=SIGNS.replace("7", ""))
    with pytest.raises(LgbenchError, match="no single token of its own for '7'"):
        load_pretrained(tmp_path, lora_rank=0)


def test_rows_that_differ_are_told_before_the_first_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(module: Any, tokenizer: Any, folder: Path) -> None:
        marks = [("<unk>", tokenizer.unk_token_id)]
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing("<unk> $A", special_tokens=marks)
        save_whole(module, tokenizer, folder)

    make_llama(tmp_path)
    monkeypatch.setattr(rehearsal, "save_whole", save)
    with pytest.raises(
        LgbenchError,
        match=r"would use other tokens for \w+ '.*': from token 0 on, \[1, \d+, .*\] and \[3, 1, ",
    ):
        rehearse(tmp_path, *load_pretrained(tmp_path, lora_rank=0), suite=MINI, group="capitalize-reverse")
