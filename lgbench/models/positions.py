"""Where the tokens of a row are: position encodings of the reference model beside plain RoPE.

Half-RoPE turns half of each head, as GPT-NeoX does (Black et al., 2022, arXiv 2204.06745; `rotary_pct=0.5`). ALiBi lets
attention fall with distance (Press et al., 2022, arXiv 2108.12409). Random positions are as in Ruoss et al. (2023,
arXiv 2305.16843), but for their span.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lgbench.util.errors import LgbenchError

EVALUATED = 256
"""Tokens over which evaluation spreads the range of random positions."""


def frequencies(size: int, theta: float, dtype: torch.dtype, *, device: torch.device, half: bool) -> Tensor:
    """How fast each pair of a head's entries turns, shape (size / 2,).

    Pair i, made of entries i and i + size/2, turns by position * theta^(-2i/size). Where only half of a head turns, the
    first half of the pairs do so as a head of half the size would, and the others stay.
    """
    turning = size // 2 if half else size
    found = theta ** -(torch.arange(0, turning, 2, device=device, dtype=dtype) / turning)
    return torch.cat((found, found.new_zeros(len(found)))) if half else found


def random_positions(rows: int, time: int, below: int, *, device: torch.device) -> Tensor:
    """Increasing numbers for each row, int64, shape (rows, time), from PyTorch's generator.

    A row's span is drawn first, from `time` to `below`, all scales alike. Its positions are `time` sorted uniform
    numbers of 0 to span - time, plus 0, 1, ..., time - 1. With a span of `below` these are the positions of Ruoss et
    al. There, evaluation spreads a row over the whole range as training does. lgbench cannot, as the length of a reply
    is not known before it is written; so a row must have been read at every spacing.

    Raises:
        LgbenchError: There are fewer numbers than tokens.
    """
    if time > below:
        raise LgbenchError(f"A row of {time} tokens needs as many positions; position_range={below} has fewer.")
    scale = ((below + 1) / time) ** torch.rand((rows, 1), device=device)
    extra = (time * scale).long().clamp_(max=below) - time  # numbers of the span that no token has
    drawn = (torch.rand((rows, time), device=device) * (extra + 1)).long().minimum(extra)
    return drawn.sort(dim=1).values + torch.arange(time, device=device)


def evaluated_positions(start: int, time: int, below: int, *, device: torch.device) -> Tensor:
    """The positions in evaluation, shape (time,): 0, s, 2s, ... where 256 tokens span the range of random positions.

    They do not depend on the length of the row, which a model that writes a reply does not know.
    """
    return torch.arange(start, start + time, device=device) * max(1, below // EVALUATED)


def slopes(heads: int) -> Tensor:
    """ALiBi's slope of each head, shape (heads,): 2^(-8/n), 2^(-16/n), ... of n heads."""
    return 2.0 ** (-8.0 * torch.arange(1, heads + 1) / heads)
