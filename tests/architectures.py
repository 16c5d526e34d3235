"""Hugging Face model folders of many architectures, with random weights so large that prompts get different replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.llama import make_tokenizer


def make_model(config: Any, *, seed: int = 0) -> Any:
    """A causal model in evaluation mode."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:
                torch.nn.init.normal_(parameter, std=0.5)
    return model


def save_model(folder: Path, config: Any, *, tokenizer: Any = None, generation: dict[str, Any] | None = None) -> Path:
    """Write a model, a tokenizer of characters if no other is given, and generation settings.

    The configuration's vocabulary must have room for the tokenizer.
    """
    make_model(config).save_pretrained(folder)
    (tokenizer or make_tokenizer()).save_pretrained(folder)
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation), encoding="utf-8")
    return folder
