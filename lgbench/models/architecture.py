"""The shape of a reference model, apart from the model, so that reading one needs no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Position = Literal["rope", "half-rope", "alibi", "nope"]
Weights = Literal["float", "ternary", "trits"]
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
        position: `rope`; `half-rope`, where only half of each head turns; `alibi`, where attention falls with distance;
            or `nope` for no position encoding.
        head_size: Size of a head's queries, keys and values; `width / heads` if None.
        position_range: In training each row's positions are random increasing numbers below this; 0 for 0, 1, 2, ...
        weights: Of the blocks' matrices: `float`; `ternary`, rounded to -s, 0 or s wherever they are used; or `trits`,
            which are rounded once and for all and not trained.

    Raises:
        ValueError: There is no such model; the message says why.
    """

    layers: int
    heads: int
    width: int
    hidden: int
    theta: float
    position: Position
    head_size: int | None = None
    position_range: int = 0
    weights: Weights = "float"

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

        if self.position == "half-rope" and self.size_per_head % 4:
            raise ValueError(f"Half of a head turns in pairs: its size is a multiple of 4, not {self.size_per_head}.")
        if self.position_range and self.position not in ("rope", "half-rope"):
            raise ValueError(f"Random positions are for rope and half-rope, not {self.position}.")
        if not 0 <= self.position_range <= MAX_SIZE:
            raise ValueError(f"Random positions are below at most {MAX_SIZE:,}, not {self.position_range:,}.")

    @property
    def size_per_head(self) -> int:
        """Size of a head's queries, keys and values."""
        return self.width // self.heads if self.head_size is None else self.head_size
