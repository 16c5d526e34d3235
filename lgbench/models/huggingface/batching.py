"""How many prompts a Hugging Face model takes at once: as many as its memory holds."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch

from lgbench.models.huggingface.decoding import Row
from lgbench.models.huggingface.limits import ContextLimit, rope_switch
from lgbench.models.huggingface.trial import Together
from lgbench.util.errors import LgbenchError

_log = logging.getLogger(__name__)
_Done = TypeVar("_Done")
_MOST_ROWS = {"cpu": 256, "cuda": 1024}
_MEMORY_SHARE = {"cpu": 0.125, "cuda": 0.8}  # of a computer that others use, and of what is free on a GPU
_NO_MEMORY = ("DefaultCPUAllocator", "MPS backend out of memory")  # what a computer's, and a Mac GPU's, allocator says


class Batcher:
    """Cuts rows into batches and runs them.

    The first size is what the cache of the longest row leaves room for. A batch that runs out of memory is run again
    in halves, and from then on no batch is as large, counted in tokens; the batches before it are done and stay done.
    Rows that would change one another's replies, or together exceed the model's limit, go into batches of their own.

    Args:
        model: The model.
        limit: The most tokens that it reads; found out here if not given.

    Attributes:
        together: Which rows may be in one batch.
    """

    def __init__(self, model: Any, limit: ContextLimit | None = None) -> None:
        self.together: Together = "any"
        self._model = model
        self._limit = limit or ContextLimit(model)
        self._rope_switch = rope_switch(model)
        self._kind = model.device.type if model.device.type in _MOST_ROWS else "cpu"
        self._token_bytes = _cache_bytes_per_token(model)
        self._most_tokens: int | None = None
        self._told_of_one = False

    def run(
        self, rows: Sequence[Row], decode: Callable[[Sequence[Row]], Sequence[_Done]]
    ) -> Iterator[tuple[int, Sequence[_Done]]]:
        """Decode rows, longest first; yields the position of each batch's first row and what became of the batch.

        Raises:
            LgbenchError: Not even one row fits into the memory.
        """
        start = 0
        while start < len(rows):
            size = self._size(_room(rows[start]))
            if size == 1 and len(rows) > 1:
                self._tell_of_one(rows[start])
            batch = rows[start : start + size]
            batch = batch[: self._fitting(batch)]
            try:
                done: Sequence[_Done] | None = decode(batch)
            except RuntimeError as error:
                if not _is_out_of_memory(error):
                    raise
                done = None
            if done is None:  # not where the error is at hand: it holds on to the tensors of the batch
                self._shrink(batch)
                continue
            yield start, done
            start += len(batch)

    def _size(self, tokens: int) -> int:
        """How many rows that end at so many tokens go at once."""
        if self._most_tokens is None:
            self._most_tokens = int(_memory(self._model.device) * _MEMORY_SHARE[self._kind] / max(self._token_bytes, 1))
        return max(1, min(_MOST_ROWS[self._kind], self._most_tokens // tokens))

    def _fitting(self, rows: Sequence[Row]) -> int:
        """How many of these rows, the longest first, fit into one batch, whatever its memory."""
        first, cap = rows[0], 0
        if first.cap == 0:  # such rows are not asked
            return next((place for place, row in enumerate(rows) if row.cap > 0), len(rows))
        for place, row in enumerate(rows):
            cap = max(cap, row.cap)
            needed = len(first.tokens) + cap
            alike = self.together == "equal" or (self._rope_switch is not None and needed > self._rope_switch)
            if place > 0 and (
                self.together == "none"
                or (alike and len(row.tokens) != len(first.tokens))
                or self._limit.below(needed) is not None
            ):
                return place
        return len(rows)

    def _tell_of_one(self, row: Row) -> None:
        if not self._told_of_one:
            self._told_of_one = True
            _log.warning(
                "The memory of %s has room for one prompt at once, of %d tokens with its reply: this will be slow. "
                "Try --model-option dtype=bfloat16 or device_map=auto.",
                self._model.device,
                _room(row),
            )

    def _shrink(self, batch: Sequence[Row]) -> None:
        tokens = _room(batch[0])
        if len(batch) == 1:
            raise LgbenchError(
                f"A single prompt with room for {tokens} tokens does not fit into the memory of {self._model.device}. "
                "Try --model-option dtype=bfloat16 or device_map=auto."
            )
        half = len(batch) // 2
        _log.warning("Out of memory with %d prompts at once; going on with %d.", len(batch), half)
        self._most_tokens = half * tokens
        if self._kind == "cuda":
            torch.cuda.empty_cache()


def _room(row: Row) -> int:
    return len(row.tokens) + row.cap


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _NO_MEMORY)


def _memory(device: torch.device) -> int:
    """Bytes: those free on this GPU, or all that the computer has."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not known on every system
        return 8 * 2**30


def _cache_bytes_per_token(model: Any) -> int:
    """Keys and values of one token in all layers; 0 where the configuration does not say."""
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", 0)
    width = getattr(config, "head_dim", None)
    if width is None:
        width = getattr(config, "hidden_size", 0) // max(getattr(config, "num_attention_heads", 1), 1)
    layers: int = getattr(config, "num_hidden_layers", 0)
    size: int = model.dtype.itemsize
    return 2 * layers * int(heads or 0) * int(width or 0) * size
