"""A reference model as a folder that Hugging Face transformers opens, written without that library."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lgbench.models.architecture import Architecture
from lgbench.models.checkpoint import load_module, read_checkpoint_record
from lgbench.models.tensors import packed
from lgbench.models.tokenizer import BEGIN, END, MARKS, PAD, Vocabulary, is_tag
from lgbench.models.transformer import NORM_EPSILON
from lgbench.util.errors import LgbenchError
from lgbench.util.files import atomic_folder

_LONGEST = 4096


def export_hf(checkpoint: Path, folder: Path) -> None:
    """Write `config.json`, `generation_config.json`, `model.safetensors` and the files of a fast tokenizer.

    The tokenizer reads `<begin><reverse_add>7431+6598=` as the reference model does: the marks and the task's tag are
    part of the text that it is given.

    Raises:
        LgbenchError: The checkpoint is damaged or no reference model with rotary positions and parts that all tasks
            use, which Llama has; or the folder is not empty, or cannot be written.
    """
    record = read_checkpoint_record(checkpoint)
    shape, vocabulary = record.architecture, record.tokens
    if shape is None or shape.position != "rope" or shape.position_range or shape.weights != "float":
        raise LgbenchError(
            f"{str(checkpoint)!r} has no form as LlamaForCausalLM: only reference models with position=rope and float "
            "weights have, at positions that are not random."
        )
    if not shape.is_shared:
        raise LgbenchError(
            f"{str(checkpoint)!r} has no form as LlamaForCausalLM: its tasks use some of the heads or feed-forward "
            f"units only (task_heads={shape.task_heads}, task_units={shape.task_units}), which Llama cannot express."
        )
    _, module = load_module(checkpoint)
    weights = _renamed(module.state_dict(), shape)
    described = {
        "config.json": _config(shape, vocabulary),
        "generation_config.json": {
            "bos_token_id": BEGIN,
            "eos_token_id": END,
            "pad_token_id": PAD,
            "max_new_tokens": _LONGEST // 2,  # without it transformers ends a reply after 20
        },
        "tokenizer.json": _tokenizer(vocabulary),
        "tokenizer_config.json": _tokenizer_config(),
    }
    with atomic_folder(folder) as unfinished:
        (unfinished / "model.safetensors").write_bytes(packed(weights, {"format": "pt"}))
        for name, content in described.items():
            (unfinished / name).write_bytes(json.dumps(content, indent=1).encode() + b"\n")


def _config(shape: Architecture, vocabulary: Vocabulary) -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": len(vocabulary),
        "hidden_size": shape.width,
        "intermediate_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "head_dim": shape.size_per_head,
        "hidden_act": "silu",
        "rms_norm_eps": NORM_EPSILON,
        "rope_theta": shape.theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape.theta},
        "max_position_embeddings": _LONGEST,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": BEGIN,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "torch_dtype": "float32",
    }


def _renamed(weights: Mapping[str, Tensor], shape: Architecture) -> dict[str, Tensor]:
    renamed = {
        "model.embed_tokens.weight": weights["embedding.weight"],
        "model.norm.weight": weights["norm.weight"],
        "lm_head.weight": weights["head.weight"],
    }
    for layer in range(shape.layers):
        own, theirs = f"blocks.{layer}.", f"model.layers.{layer}."
        query, key, value = weights[own + "attention.qkv.weight"].chunk(3)
        gate, up = weights[own + "feed_forward.gate_up.weight"].chunk(2)
        renamed |= {
            theirs + "input_layernorm.weight": weights[own + "attention_norm.weight"],
            theirs + "self_attn.q_proj.weight": query,
            theirs + "self_attn.k_proj.weight": key,
            theirs + "self_attn.v_proj.weight": value,
            theirs + "self_attn.o_proj.weight": weights[own + "attention.out.weight"],
            theirs + "post_attention_layernorm.weight": weights[own + "feed_forward_norm.weight"],
            theirs + "mlp.gate_proj.weight": gate,
            theirs + "mlp.up_proj.weight": up,
            theirs + "mlp.down_proj.weight": weights[own + "feed_forward.down.weight"],
        }
    return renamed


def _tokenizer(vocabulary: Vocabulary) -> dict[str, object]:
    """A `tokenizer.json`: words of one character, or of one mark, tag or node, looked up in a list."""
    tokens = vocabulary.tokens
    marks = [number for number, text in enumerate(tokens) if is_tag(text)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": tokens[number],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number in marks
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Split",
            "pattern": {"Regex": vocabulary.pattern},
            "behavior": "Isolated",
            "invert": False,
        },
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "WordLevel",
            "vocab": {text: number for number, text in enumerate(tokens)},
            "unk_token": tokens[PAD],
        },
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": MARKS[BEGIN],
        "eos_token": MARKS[END],
        "pad_token": MARKS[PAD],
        "clean_up_tokenization_spaces": False,
        "model_max_length": _LONGEST,
    }
