"""The shape of a reference model, apart from the model, so that reading one needs no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MAX_SIZE = 100_000
"""Far above what any machine holds, so that a slip is told before it takes the memory."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a reference model.

    Attributes:
        layers: Number of blocks.
        heads: Attention heads of a block.
        width: Size of a token's vector between blocks.
        hidden: Size of the feed-forward layer's inner vector.
        theta: Base of the rotary wavelengths.
        position: `rope`, or `nope` for no position encoding.
        head_size: Size of a head's queries, keys and values; `width / heads` if None.

    Raises:
        ValueError: There is no such model; the message says why.
    """

    layers: int
    heads: int
    width: int
    hidden: int
    theta: float
    position: Literal["rope", "nope"]
    head_size: int | None = None

    def __post_init__(self) -> None:
        if min(self.layers, self.heads, self.width, self.hidden) < 1:
            raise ValueError("A reference model has at least 1 layer, 1 head, and a width and hidden size of 1.")
        if max(self.layers, self.heads, self.width, self.hidden) > MAX_SIZE:
            raise ValueError(f"A reference model has at most {MAX_SIZE:,} layers, heads, width and hidden size.")
        if not (self.theta > 0 and math.isfinite(self.theta)):
            raise ValueError(f"A reference model's theta is a number above 0, not {self.theta}.")
        if self.head_size is not None:
            if self.head_size < 2 or self.head_size % 2 or self.heads * self.head_size > MAX_SIZE:
                raise ValueError(
                    f"A head's size is an even number from 2 on, and with {self.heads} heads at most "
                    f"{MAX_SIZE // self.heads:,}, not {self.head_size}."
                )
        elif self.width % (2 * self.heads):
            raise ValueError(
                f"A width of {self.width} does not divide into {self.heads} heads of even size. "
                f"Choose a multiple of {2 * self.heads}, or give their size as head_size."
            )

    @property
    def size_per_head(self) -> int:
        """Size of a head's queries, keys and values."""
        return self.width // self.heads if self.head_size is None else self.head_size
