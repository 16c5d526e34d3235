"""A pretrained tokenizer changed to read one character at a time, and the model's token for each of ours."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from lgbench.models.tokenizer import BEGIN, END, PAD, Vocabulary
from lgbench.util.errors import LgbenchError

BEGIN_TOKEN = "<begin>"
_END_TOKEN = "<end>"
_MOST_SHOWN = 10


def read_characters(tokenizer: Any, folder: Path, vocabulary: Vocabulary) -> tuple[Any, Tensor]:
    """A tokenizer with the vocabulary of another, which merges no characters and adds nothing to a text.

    Added to its vocabulary are task tags, maze nodes, and marks for begin and end where it has none. It is of the
    general class: those of single models build their own rules again when they are loaded.

    Args:
        tokenizer: Of `transformers`.
        folder: Its folder, for messages.
        vocabulary: Ours.

    Returns:
        The new tokenizer, and its token for each of ours, int64, shape (vocabulary,).

    Raises:
        LgbenchError: It has no rules that can be changed, or no single token for some character.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise LgbenchError(
            f"The tokenizer in {str(folder)!r} is not one of the library tokenizers, whose rules lgbench can change: "
            "it has no tokenizer.json. Choose another model."
        )
    names = ("bos_token", "eos_token", "pad_token", "unk_token")
    made: Any = PreTrainedTokenizerFast(
        tokenizer_object=_apart(backend),
        clean_up_tokenization_spaces=False,
        **{name: getattr(tokenizer, name) for name in names},
    )
    made.add_tokens([text for text in vocabulary.tokens[END + 1 :] if len(text) > 1])
    if made.eos_token is None or made.eos_token == made.bos_token:
        made.add_special_tokens({"eos_token": _END_TOKEN})
    if made.bos_token is None:
        made.add_special_tokens({"bos_token": BEGIN_TOKEN})
    return made, _table(made, folder, vocabulary)


def _apart(backend: Tokenizer) -> Tokenizer:
    """The same tokenizer, cutting a text into characters first, and without what puts tokens before or after it."""
    rules = json.loads(backend.to_str())
    rules |= {"post_processor": None, "truncation": None, "padding": None}
    if "merges" in rules["model"]:  # a class that transformers has for a model may restore its rules, but not these
        rules["model"]["merges"] = []
    rules["normalizer"] = _without_prefix(rules["normalizer"])
    rules["pre_tokenizer"] = _without_prefix(rules["pre_tokenizer"])
    changed = Tokenizer.from_str(json.dumps(rules))
    apart = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    usual = changed.pre_tokenizer
    changed.pre_tokenizer = apart if usual is None else pre_tokenizers.Sequence([apart, usual])
    return changed


def _without_prefix(rule: dict[str, Any] | None) -> dict[str, Any] | None:
    """A rule of a `tokenizer.json` that puts no space, or the `▁` that stands for one, before a text.

    Llama's and others' do: the first character of a text, or each that is cut apart, would become another token.
    """
    if rule is None or rule["type"] == "Prepend":
        return None
    inner = next((key for key in ("normalizers", "pretokenizers") if key in rule), None)
    if inner is not None:
        return rule | {inner: [kept for each in rule[inner] if (kept := _without_prefix(each)) is not None]}
    never = {"prepend_scheme": "never", "add_prefix_space": False}
    return rule | {key: value for key, value in never.items() if key in rule}


def _table(tokenizer: Any, folder: Path, vocabulary: Vocabulary) -> Tensor:
    """The token for each of ours, taken from the middle of whole rows: alone, a text may be read in another way."""
    begin = tokenizer.bos_token + vocabulary.tokens[END + 1]
    found: list[list[int]] = []
    for text in vocabulary.tokens:
        row = tokenizer(begin + 2 * text, add_special_tokens=False)["input_ids"][2:]
        if len(row) == 2 and row[0] != row[1]:
            raise LgbenchError(
                f"The tokenizer in {str(folder)!r} reads {2 * text!r} as {tokenizer.convert_ids_to_tokens(row)}: which "
                "token a character has depends on its place. Choose another model."
            )
        unknown = len(row) == 2 and row[0] == tokenizer.unk_token_id
        found.append([] if unknown else row[: len(row) // 2])
    found[PAD] = found[END] = [tokenizer.eos_token_id]  # what stands in the padding is never looked at
    found[BEGIN] = [tokenizer.bos_token_id]
    uses = Counter(tokens[0] for tokens in found[PAD + 1 :] if tokens)
    ours = zip(vocabulary.tokens, found, strict=True)
    unfit = [text for text, tokens in ours if len(tokens) != 1 or uses[tokens[0]] > 1]
    if unfit:
        shown = ", ".join(map(repr, unfit[:_MOST_SHOWN]))
        more = f" and {len(unfit) - _MOST_SHOWN} more" if len(unfit) > _MOST_SHOWN else ""
        raise LgbenchError(
            f"The tokenizer in {str(folder)!r} has no single token of its own for {shown}{more}. Choose another model."
        )
    return torch.tensor([tokens[0] for tokens in found])
