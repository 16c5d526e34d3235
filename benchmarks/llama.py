"""Hugging Face model folders made on the spot: random weights and a tokenizer of characters. For benches and tests."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

SIGNS = string.ascii_letters + string.digits + "+-*=?[],:><_/.! '()\n"
CHAT_TEMPLATE = "{% for m in messages %}<s>{{ m.role }}: {{ m.content }}\n{% endfor %}assistant: "


def make_tokenizer(signs: str = SIGNS, *, chat: bool = False) -> Any:
    """A `PreTrainedTokenizerFast` with one token for each of `signs`, behind <pad>, <s>, </s> and <unk>."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *signs])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    if chat:
        fast.chat_template = CHAT_TEMPLATE
    return fast


def make_llama(
    folder: Path, *, signs: str = SIGNS, chat: bool = False, seed: int = 0, end_weight: float = 1.0, **config: Any
) -> Path:
    """Write a LlamaForCausalLM and its tokenizer.

    The weights are random, and so large that prompts get different replies.

    Args:
        folder: Where to.
        signs: The characters of the vocabulary.
        chat: Whether the tokenizer gets a chat template.
        seed: Of the weights.
        end_weight: A factor on the output weights of the end token: a larger one makes replies shorter.
        config: Settings of `LlamaConfig`; two layers of width 16 where nothing else is said.

    Returns:
        The folder.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(signs, chat=chat)
    settings: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.5,
    }
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **ends, **(settings | config)))
    model.lm_head.weight.data[2] *= end_weight
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
