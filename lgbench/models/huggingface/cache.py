"""The attention cache of a `transformers` model, in buffers that do not grow."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from lgbench.util.private_api import supports_dynamic_cache


def keeps_plain_attention_cache(model: Any) -> bool:
    """Whether all that a model keeps of earlier tokens are keys and values."""
    if model.config.is_encoder_decoder or not supports_dynamic_cache(model):
        return False
    layers = DynamicCache(config=model.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def preallocated_cache(model: Any, capacity: int) -> DynamicCache:
    """A cache whose full-attention layers have room for `capacity` tokens and so never copy what they hold to grow."""
    cache = DynamicCache(config=model.config)
    cache.layers = [_PreallocatedLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class _PreallocatedLayer(DynamicLayer):
    """Keys and values in buffers of shape (rows, heads, capacity, width); what is held is a view of their beginning."""

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self._capacity = capacity
        self._held = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the keys and values of new tokens, and return all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._key_buffer, self._value_buffer = self._room(key_states), self._room(value_states)
        end = self._held + key_states.shape[-2]
        self._key_buffer[:, :, self._held : end] = key_states
        self._value_buffer[:, :, self._held : end] = value_states
        self._show(end)
        return self.keys, self.values

    def _room(self, states: torch.Tensor) -> torch.Tensor:
        rows, heads, _, width = states.shape
        return states.new_empty(rows, heads, self._capacity, width)

    def _show(self, end: int) -> None:
        self._held = end
        self.keys = self._key_buffer[:, :, :end]
        self.values = self._value_buffer[:, :, :end]

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep these rows only."""
        if not self.is_initialized:  # a configuration may count layers that the model does not have
            return
        rows = len(beam_idx)
        self._key_buffer[:rows, :, : self._held] = self.keys.index_select(0, beam_idx)
        self._value_buffer[:rows, :, : self._held] = self.values.index_select(0, beam_idx)
        self._key_buffer, self._value_buffer = self._key_buffer[:rows], self._value_buffer[:rows]
        self._show(self._held)
