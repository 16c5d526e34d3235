"""Whether a Hugging Face model's weights are as large as its configuration says, found out before it takes memory."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from lgbench.models.huggingface.weights import model_weights
from lgbench.models.tensors import shapes
from lgbench.util.errors import LgbenchError

# Numbers of the model for each in the files: tied weights are stored once, and quantized ones in packs.
_MOST_TIED, _MOST_PACKED = 2, 16
_MOST_BUFFERS = 2**31  # bytes, beyond what the weights take: tables of positions and masks are in no file


def check_sizes(folder: Path, *, code: bool) -> None:
    """Compare the size of the model that `config.json` describes with the headers of its weights.

    transformers takes memory for what it finds no weights for, and complains afterwards.

    Args:
        folder: A checked folder.
        code: Whether code that comes with the model may run.

    Raises:
        LgbenchError: The configuration describes a far larger model.
        Exception: What transformers raises where it cannot build the model.
    """
    config: Any = AutoConfig.from_pretrained(folder, trust_remote_code=code)
    tensors = [shape for path in model_weights(folder) for shape in shapes(path).values()]
    layers = getattr(config.get_text_config(decoder=True), "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(tensors):  # even without weights, each takes time and memory
        raise _unfit(folder, f"its configuration has {layers:,} layers, its weights {len(tensors):,} tensors")
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=code)
    stored, described = sum(map(math.prod, tensors)), sum(each.numel() for each in model.parameters())
    if described > stored * (_MOST_PACKED if hasattr(config, "quantization_config") else _MOST_TIED):
        raise _unfit(folder, f"its configuration describes {described:,} numbers, its weights hold {stored:,}")
    buffers = sum(each.numel() * each.element_size() for each in model.buffers())
    weights = sum(each.numel() * each.element_size() for each in model.parameters())
    if buffers > weights + _MOST_BUFFERS:
        raise _unfit(folder, f"its configuration asks for tables of {buffers:,} bytes")


def _unfit(folder: Path, detail: str) -> LgbenchError:
    return LgbenchError(
        f"{str(folder)!r} cannot be loaded: its weights have other shapes than the model's configuration says: "
        f"{detail}. Do both belong together?"
    )
