"""Layer 4: a pretrained causal language model in the place of the reference model (the paper's pretrained track).

The model reads and writes our vocabulary, one of its own tokens for each of ours: characters are never merged, and task
tags and maze nodes are added to its tokenizer. So training, its curve and resuming are those of `lgbench train`.
"""

from __future__ import annotations

import errno
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from tokenizers import Regex, pre_tokenizers
from torch import Tensor, nn
from transformers import AutoTokenizer

from lgbench.errors import LgbenchError
from lgbench.files import atomic_folder, owned_folder
from lgbench.models.checkpoint import read_weights
from lgbench.models.folders import CHECKPOINT, MODEL
from lgbench.models.huggingface.checkpoint import load_folder, quiet_loading
from lgbench.models.tokenizer import BEGIN, END, PAD, PUBLISHED, Vocabulary

BEGIN_TOKEN = "<begin>"
_GO_ON = "The trained weights are kept: go on with --resume."


class PretrainedModule(nn.Module):
    """A causal model behind our vocabulary.

    Args:
        model: The `transformers` model.
        table: Its token for each of ours, int64, shape (vocabulary,).
    """

    def __init__(self, model: nn.Module, table: Tensor) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("table", table, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits over our vocabulary, shape (batch, time, vocabulary), for tokens of shape (batch, time).

        The logit of the pad token, which is never a label, stands for all tokens of the model that are none of ours. So
        the loss is the model's own over its whole vocabulary, and it learns not to write anything else.
        """
        table: Tensor = self.table  # type: ignore[assignment]
        full: Tensor = self.model(input_ids=table[tokens], use_cache=False).logits.float()
        others = full.index_fill(-1, table[PAD + 1 :], float("-inf")).logsumexp(-1, keepdim=True)
        return torch.cat([others, full[..., table[PAD + 1 :]]], dim=-1)


def load_pretrained(
    folder: Path, *, lora_rank: int, vocabulary: Vocabulary = PUBLISHED
) -> tuple[PretrainedModule, Any]:
    """A pretrained model ready to be trained, and its tokenizer.

    Args:
        folder: A checked Hugging Face folder.
        lora_rank: Of low-rank adapters on every linear layer (the embeddings are trained too); 0 trains all weights.
        vocabulary: What it is to read and write.

    Raises:
        LgbenchError: It cannot be loaded, or its tokenizer has no single token for some character.
    """
    with quiet_loading():
        model, tokenizer = load_folder(folder, dtype="float32")
    table = _prepare_tokenizer(tokenizer, folder, vocabulary)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if lora_rank:
        model = _with_adapters(model, lora_rank)
    return PretrainedModule(model, table), tokenizer


def _prepare_tokenizer(tokenizer: Any, folder: Path, vocabulary: Vocabulary) -> Tensor:
    """Add tags and nodes, keep characters apart, and give the model's token for each of ours."""
    tokenizer.add_tokens([text for text in vocabulary.tokens[END + 1 :] if len(text) > 1])
    if tokenizer.eos_token is None or tokenizer.eos_token == tokenizer.bos_token:
        tokenizer.add_special_tokens({"eos_token": "<end>"})
    if tokenizer.bos_token is None:
        tokenizer.add_special_tokens({"bos_token": BEGIN_TOKEN})
    backend = tokenizer.backend_tokenizer
    apart = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    usual = backend.pre_tokenizer
    backend.pre_tokenizer = apart if usual is None else pre_tokenizers.Sequence([apart, usual])
    found = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in vocabulary.tokens]
    found[PAD] = found[END] = [tokenizer.eos_token_id]  # what stands in the padding is never looked at
    found[BEGIN] = [tokenizer.bos_token_id]
    firsts = Counter(tokens[0] for tokens in found[PAD + 1 :] if tokens)
    unfit = [
        text
        for text, tokens in zip(vocabulary.tokens, found, strict=True)
        if len(tokens) != 1 or firsts[tokens[0]] > 1  # such as the token for all that is unknown
    ]
    if unfit:
        shown = ", ".join(map(repr, unfit[:10])) + (f" and {len(unfit) - 10} more" if len(unfit) > 10 else "")
        raise LgbenchError(
            f"The tokenizer in {str(folder)!r} has no single token of its own for {shown}. Choose another model."
        )
    return torch.tensor([tokens[0] for tokens in found])


def _with_adapters(model: Any, rank: int) -> Any:
    from peft import LoraConfig, get_peft_model

    with quiet_loading():
        model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
    # The new tokens have random embeddings, which adapters could not learn.
    for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
        embedding.weight.requires_grad_(True)
    return model


def leave_model(run: Path, source: Path, *, lora_rank: int, vocabulary: Vocabulary = PUBLISHED) -> str:
    """Write the model of a run that is trained to its folder `model`, unless it is there.

    Args:
        run: The run's folder.
        source: The folder of the pretrained model.
        lora_rank: Of the adapters that were trained; 0 where all weights were.
        vocabulary: As it was trained with.

    Returns:
        The template to evaluate it with.

    Raises:
        LgbenchError: It could not be written, or another process writes to the folder.
    """
    with owned_folder(run):
        if not (run / MODEL).exists():
            with torch.random.fork_rng():
                module, tokenizer = load_pretrained(source, lora_rank=lora_rank, vocabulary=vocabulary)
            write_finetuned(run / CHECKPOINT, module, tokenizer, run / MODEL)
    return evaluation_template(run / MODEL)


def write_finetuned(checkpoint: Path, module: PretrainedModule, tokenizer: Any, folder: Path) -> None:
    """Write a trained model as a Hugging Face folder, its adapters merged: the whole folder or none.

    Args:
        checkpoint: The folder with the weights that training left.
        module: A module as `load_pretrained` made it.
        tokenizer: Its tokenizer.
        folder: Where to.

    Raises:
        LgbenchError: It could not be written.
    """
    module.load_state_dict(read_weights(checkpoint))
    model: Any = module.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    model.generation_config.eos_token_id = model.config.eos_token_id = tokenizer.eos_token_id
    tokenizer.chat_template = None  # it was trained on bare prompts, and would be asked in chats otherwise
    with quiet_loading(), atomic_folder(folder, advice=_GO_ON) as unfinished:
        try:
            model.save_pretrained(unfinished)
        except SafetensorError as error:  # what a full disk is to that library
            raise OSError(errno.ENOSPC, str(error)) from None
        tokenizer.save_pretrained(unfinished)


def evaluation_template(folder: Path) -> str:
    """The template to evaluate a model with that `write_finetuned` wrote."""
    with quiet_loading():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    begins = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return f"{'' if begins else tokenizer.bos_token}<{{task}}>{{prompt}}"
