"""A pretrained causal language model in the place of the reference model (the paper's pretrained track).

The model reads and writes our vocabulary, one of its own tokens for each of ours: characters are never merged, and task
tags and maze nodes are added to its tokenizer. So training, its curve and resuming are those of `lgbench train`.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoTokenizer, GenerationConfig

from lgbench.models.checkpoint import read_weights
from lgbench.models.folders import CHECKPOINT, MODEL
from lgbench.models.huggingface.checkpoint import load_folder, quiet_loading
from lgbench.models.tokenizer import PAD, PUBLISHED, Vocabulary
from lgbench.training.characters import read_characters
from lgbench.util.errors import LgbenchError
from lgbench.util.files import atomic_folder, owned_folder

_GO_ON = "The trained weights are kept: rerun to go on."


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
        model, original = load_folder(folder, dtype="float32")
    tokenizer, table = read_characters(original, folder, vocabulary)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    if lora_rank:
        model = _with_adapters(model, lora_rank)
    return PretrainedModule(model, table), tokenizer


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
    with atomic_folder(folder, advice=_GO_ON) as unfinished:
        save_whole(module, tokenizer, unfinished)


def save_whole(module: PretrainedModule, tokenizer: Any, folder: Path) -> None:
    """Write a model and its tokenizer into a folder that is there. Adapters are merged, so the module is used up.

    Of the settings for generating text only the marks are written: others, such as a temperature beside greedy
    decoding, may be refused by `transformers`, and would change replies elsewhere.

    Raises:
        OSError: The files cannot be written.
        LgbenchError: transformers refuses to write it.
    """
    model: Any = module.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    marks = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**marks)
    for name, token in marks.items():
        setattr(model.config, name, token)
    try:
        with quiet_loading():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except SafetensorError as error:  # what a full disk is to that library
        raise OSError(errno.ENOSPC, str(error)) from None
    except OSError:
        raise
    except Exception as error:  # it raises nearly everything, of which the first line says enough
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LgbenchError(f"transformers cannot write this model: {reason}") from error


def evaluation_template(folder: Path) -> str:
    """The template to evaluate a model with that `write_finetuned` wrote."""
    with quiet_loading():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    begins = tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    return f"{'' if begins else tokenizer.bos_token}<{{task}}>{{prompt}}"
