"""Which heads and feed-forward units a row does not use, by its task: for training with parts that tasks cannot share.

The task is read off the second token of a row, its tag.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lgbench.models.architecture import Architecture, Use

_TAG = 1
"""The place of the tag in a row: begin, tag, prompt."""


class Unused(NamedTuple):
    """What is switched off, the same in every layer; None where nothing is.

    Attributes:
        heads: Bool, shape (rows, heads), or one row for all.
        units: Bool, shape (rows, hidden), or one row for all.
    """

    heads: Tensor | None
    units: Tensor | None

    def of_rows(self, rows: Tensor) -> Unused:
        """Of these rows alone, shape (kept,)."""
        return Unused(*(each if each is None or len(each) == 1 else each[rows] for each in self))

    def repeated(self, times: int) -> Unused:
        """Of a batch that is repeated as a whole."""
        return Unused(*(each if each is None or len(each) == 1 else each.repeat(times, 1) for each in self))


def unused(shape: Architecture, tokens: Tensor) -> Unused | None:
    """What rows of tokens, shape (batch, time), do not use; None where all use everything.

    Args:
        shape: Of the model.
        tokens: The rows from their beginning, with their tag at least.
    """
    if shape.is_shared:
        return None
    heads, units = ((shape.task_heads, shape.heads), (shape.task_units, shape.hidden))
    return Unused(_off(*heads, shape, tokens), _off(*units, shape, tokens))


def _off(use: Use, size: int, shape: Architecture, tokens: Tensor) -> Tensor | None:
    if use == "all":
        return None
    is_second = torch.arange(size, device=tokens.device)[None] >= size // 2
    if use == "half":
        return is_second
    is_main = tokens[:, _TAG, None] == shape.main_tag
    return is_second == is_main
