"""How many tokens a Hugging Face model can read: what its configuration declares, and whether it holds."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lgbench.util.errors import LgbenchError

_log = logging.getLogger(__name__)
_NAMES = (
    "max_position_embeddings", "n_positions", "num_positions", "max_positions", "n_ctx", "max_seq_len", "seq_len",
    "max_seq_length", "seq_length", "max_sequence_length", "sequence_length", "max_target_positions", "block_size",
    "context_length", "max_context_length", "context_size", "max_context_len", "model_max_length",
)  # fmt: skip
_NESTED = ("text_config", "llm_config", "language_config", "decoder", "decoder_config", "model_config")
_SPARE = 2  # places for padding with which some tables begin
_ORIGINAL = "original_max_position_embeddings"
_SWITCHING = ("longrope", "dynamic")


class ContextLimit:
    """The most tokens, of prompt and reply together, that a model can read.

    A table of positions ends somewhere. Models that compute positions may have no limit, whatever length they were
    trained to, or fail beyond the one that they declare: that is tried once, when a row may need more.

    Args:
        model: A causal language model.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        declared = sorted(set(_declared(model)))
        tables = {limit: usable for limit in declared if (usable := _table(model, limit)) is not None}
        self._hard = [*tables.values(), *_named_tables(model, declared)]
        self._untried = [limit for limit in declared if limit not in tables]
        self._computes = _computes_rotations(model)

    def below(self, tokens: int) -> int | None:
        """The limit that keeps a model from reading as many tokens; None where it can.

        Raises:
            LgbenchError: The code of the model broke off the work of the GPU when that was tried.
        """
        while self._untried and self._untried[0] < min([tokens, *self._hard]):
            limit = self._untried.pop(0)
            if (most := self._tried(limit)) is not None:
                self._hard.append(most)
                continue
            _log.warning(
                "The model was made for at most %d tokens, and some prompts with their longest replies need more: it "
                "reads on, but its replies may be worse there.",
                limit,
            )
        hard = min(self._hard, default=tokens)
        return hard if hard < tokens else None

    def _tried(self, limit: int) -> int | None:
        """The most tokens that the model reads, at or just below a declared limit; None where it reads on."""
        if self._computes or self._reads(limit + 1):
            return None
        near = range(limit, max(limit - 1 - _SPARE, 0), -1)
        return next((count for count in near if self._reads(count)), None)

    @torch.inference_mode()
    def _reads(self, count: int) -> bool:
        """Whether the model reads so many tokens without an error."""
        fewer = {"logits_to_keep": 1} if "logits_to_keep" in inspect.signature(self._model.forward).parameters else {}
        try:
            self._model(input_ids=torch.ones((1, count), dtype=torch.long, device=self._model.device), **fewer)
        except torch.OutOfMemoryError:
            return True  # a matter of memory
        except torch.AcceleratorError as error:  # after which nothing runs on the GPU any more
            raise LgbenchError(
                f"The model's code fails on the GPU with {count} tokens. Evaluate shorter prompts with --length, or "
                "add --model-option device_map=cpu."
            ) from error
        except Exception:  # noqa: BLE001  # shapes that do not fit, an index out of range, or a check of its own
            return False
        return True


def rope_switch(model: Any) -> int | None:
    """The number of tokens beyond which a model rotates *all* tokens of a batch otherwise; None where none does.

    With `longrope` and `dynamic` scaling that depends on the longest row.
    """
    for config in _configs(model):
        parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
        nested = [each for each in parameters.values() if isinstance(each, dict)]  # for each kind of layer
        for each in (parameters, *nested):
            if each.get("rope_type", each.get("type")) in _SWITCHING:
                most = getattr(config, "max_position_embeddings", None)
                original = getattr(config, _ORIGINAL, None)
                limit = each.get(_ORIGINAL) or original or most
                return limit if isinstance(limit, int) else None
    return None


def _configs(model: Any) -> Iterator[Any]:
    """The configuration of a model, and those of the language model in it."""
    yield model.config
    yield model.config.get_text_config(decoder=True)
    yield from (nested for name in _NESTED if (nested := getattr(model.config, name, None)) is not None)


def _declared(model: Any) -> Iterator[int]:
    for config in _configs(model):
        for name in _NAMES:
            value = config.get(name) if isinstance(config, dict) else getattr(config, name, None)
            if isinstance(value, int) and value > 1:
                yield value


def _table(model: Any, limit: int) -> int | None:
    """How many tokens a table of this limit has places for; None where there is no such table."""
    for table in _other_embeddings(model).values():
        if limit <= table.num_embeddings <= limit + _SPARE:
            all_used = table.num_embeddings > limit or table.padding_idx is None
            return limit if all_used else limit - table.padding_idx - 1
    sizes = (tuple(buffer.shape) for name, buffer in model.named_buffers() if _is_of_positions(name, buffer))
    return limit if any(limit <= size <= limit + _SPARE for shape in sizes for size in shape) else None


def _named_tables(model: Any, declared: list[int]) -> Iterator[int]:
    """The limits that tables of positions set, by their names, where the configuration does not declare them."""
    for name, table in _other_embeddings(model).items():
        last, size = name.rpartition(".")[2].lower(), int(table.num_embeddings)
        known = any(limit <= size <= limit + _SPARE for limit in declared)
        if ("wpe" in last or "pos" in last) and "rel" not in name.lower() and not known:
            yield size - int(getattr(table, "offset", 0)) - (0 if table.padding_idx is None else table.padding_idx + 1)


def _other_embeddings(model: Any) -> dict[str, Any]:
    """The embeddings of a model but those of its words, by name."""
    words = model.get_input_embeddings()
    named = model.named_modules()
    return {name: module for name, module in named if isinstance(module, nn.Embedding) and module is not words}


def _is_of_positions(name: str, buffer: torch.Tensor) -> bool:
    last = name.rpartition(".")[2]
    is_square = buffer.dim() > 1 and buffer.shape[-1] == buffer.shape[-2]
    return "pos" in last or (is_square and (last == "bias" or "mask" in last))


def _computes_rotations(model: Any) -> bool:
    """Whether positions are rotations that are computed for each batch, and no table of them is kept."""
    names = [name.rpartition(".")[2] for name, _ in model.named_buffers()]
    return "inv_freq" in names and not any("cos" in name or "freqs" in name for name in names)
