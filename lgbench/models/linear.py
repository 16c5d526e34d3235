"""The linear maps of the reference model, on a CPU by the faster of the two libraries that PyTorch has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.util.private_api import one_dnn_linear

_ONE_DNN = one_dnn_linear()
_LEAST_ROWS = 48  # for fewer MKL is as fast
_ROWS = 32  # oneDNN prepares itself for each number of rows, which takes as long as some products: they are rounded up


class Linear(nn.Linear):
    """A linear map without a bias: (..., inputs) to (..., outputs).

    Args:
        inputs: Size of the vectors it takes.
        outputs: Size of those it gives.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """As `torch.nn.Linear`, but for rounding where it decodes in float32 on a CPU."""
        return self.product(x, self.weight)

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        """The map by a matrix, shape (outputs, inputs)."""
        rows = x.numel() // self.in_features
        decodes = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_grad_enabled()
        if _ONE_DNN is None or not decodes or rows < _LEAST_ROWS:
            return F.linear(x, weight)
        padded = F.pad(x.reshape(rows, -1), (0, 0, 0, -rows % _ROWS))
        product: Tensor = _ONE_DNN(padded, weight, None, "none", [], "")
        return product[:rows].view(*x.shape[:-1], -1)
