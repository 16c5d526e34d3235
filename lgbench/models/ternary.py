"""Linear maps whose weights are -s, 0 or s: the quantiser of TriLM (Kaushal et al., 2024, arXiv 2407.12327).

With the mean size s = 1e-5 + mean |W| of a matrix, its trits are W / s cut to [-1, 1] and rounded, and the map is by s
times the trits. The gradient passes rounding, cutting and s as if they were not there (straight through), so that of W
is what it would be without them, and that of the input is by the rounded matrix.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor

from lgbench.models.architecture import Architecture
from lgbench.models.linear import Linear

EPSILON = 1e-5


def scale_of(weight: Tensor) -> Tensor:
    """The scale s of a matrix, shape ()."""
    return EPSILON + weight.abs().mean()


def trits_of(weight: Tensor, scale: Tensor) -> Tensor:
    """The trits of a matrix: -1, 0 or 1, in the matrix's type and shape. Halves round to even, so to 0."""
    return (weight / scale).clamp_(-1, 1).round_()


class _Trits(torch.autograd.Function):
    """`trits_of`, whose gradient is that of the matrix that s times the trits stand for."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.scale = scale
        return trits_of(weight, scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient / ctx.scale, None


class TernaryLinear(Linear):
    """A linear map by the rounded matrix, which is trained by the straight-through gradient.

    The scale multiplies the product, so that products in bfloat16 are by exact trits.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self._rounded: tuple[Tensor, int, Tensor, Tensor] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        trits, scale = self.rounded()
        return self.product(x, trits) * scale

    def rounded(self) -> tuple[Tensor, Tensor]:
        """The trits and the scale. In evaluation they are kept until the weight changes or `train` is called."""
        if self.training or torch.is_grad_enabled():
            scale = scale_of(self.weight.detach())
            trits: Tensor = _Trits.apply(self.weight, scale)  # type: ignore[no-untyped-call]
            return trits, scale
        kept, weight = self._rounded, self.weight.detach()
        # A copy that was made in inference mode has no version; nothing can change it outside that mode.
        version = -1 if weight.is_inference() else self.weight._version
        if kept is None or kept[0].data_ptr() != weight.data_ptr() or kept[1] != version:
            with torch.inference_mode(False), torch.no_grad():
                weight = self.weight.detach()
                scale = scale_of(weight)
                # The weight itself is kept too, so that no other one can come to lie where it lies.
                self._rounded = kept = (weight, version, trits_of(weight, scale), scale)
        return kept[2], kept[3]

    def train(self, mode: bool = True) -> Self:
        """It is rounded again: the fused optimizers of torch change a weight and leave its version as it was."""
        self._rounded = None
        return super().train(mode)

    def _apply(self, *arguments: Any, **named: Any) -> Any:
        """On another device or in another type it is rounded again."""
        self._rounded = None
        return super()._apply(*arguments, **named)  # type: ignore[no-untyped-call]


class TritLinear(Linear):
    """A linear map by a matrix that was rounded before: it holds the trits and the scale, and is not trained."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.weight.requires_grad_(False)
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(..., inputs) to (..., outputs)."""
        return self.product(x, self.weight) * self.scale


def matrix(shape: Architecture, inputs: int, outputs: int) -> Linear:
    """A matrix of a block, as the architecture has its weights."""
    kinds = {"float": Linear, "ternary": TernaryLinear, "trits": TritLinear}
    return kinds[shape.weights](inputs, outputs)
