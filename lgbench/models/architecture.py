"""The shape of a reference model, apart from the model, so that reading one needs no PyTorch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Position = Literal["rope", "half-rope", "alibi", "nope"]
Weights = Literal["float", "ternary", "trits"]
Use = Literal["all", "half", "disjoint"]
"""Which of a layer's heads or feed-forward units the tasks use: all of them; the first half, every task the same; or
the main task the first half and every other task the second."""
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
        task_heads: Which heads of each layer the tasks use; the outputs of the others are 0.
        task_units: Which feed-forward units of each layer they use, likewise.
        main_tag: The token of the main task's tag, where heads or units are disjoint; None elsewhere.

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
    task_heads: Use = "all"
    task_units: Use = "all"
    main_tag: int | None = None

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
        self._check_halves()

    def _check_halves(self) -> None:
        """Raise ValueError if heads or units that are to be divided are not two halves."""
        for setting, use, name, size in (
            ("task_heads", self.task_heads, "heads", self.heads),
            ("task_units", self.task_units, "hidden", self.hidden),
        ):
            if use != "all" and size % 2:
                raise ValueError(
                    f"{setting}={use} divides each layer in two halves, which {name}={size} does not allow. Choose an "
                    f"even number, as in {name}={size + 1}."
                )

    @property
    def is_shared(self) -> bool:
        """Whether all tasks use all heads and units."""
        return self.task_heads == self.task_units == "all"

    @property
    def needs_main_tag(self) -> bool:
        """Whether the tag of a row decides what it uses."""
        return "disjoint" in (self.task_heads, self.task_units)

    @property
    def size_per_head(self) -> int:
        """Size of a head's queries, keys and values."""
        return self.width // self.heads if self.head_size is None else self.head_size
