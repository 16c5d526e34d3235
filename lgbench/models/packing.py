"""The weights of a reference model whose blocks are packed trits, and back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lgbench.models.linear import Linear
from lgbench.models.ternary import TernaryLinear, TritLinear, scale_of, trits_of
from lgbench.models.transformer import Transformer
from lgbench.models.trits import Packing, pack, unpack


def packed_weights(model: Transformer, packing: Packing) -> dict[str, Tensor]:
    """The state of a model with the matrices of its blocks as trits: blocks of bytes, and a float32 scale each."""
    state = dict(model.state_dict())
    for name, layer in model.blocks.named_modules():
        if isinstance(layer, Linear):
            weight = layer.weight.detach().float()
            scale = scale_of(weight)
            state[f"blocks.{name}.weight"] = pack(trits_of(weight, scale), float(scale), packing)
            state[f"blocks.{name}.scale"] = scale
    return state


def packed_names(module: nn.Module) -> frozenset[str]:
    """The names of the weights that a checkpoint of the module holds as packed trits."""
    return frozenset(f"{name}.weight" for name, layer in module.named_modules() if isinstance(layer, TritLinear))


def unpacked(weights: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The weights of a checkpoint with trits in the shapes of the module's matrices.

    Raises:
        LgbenchError: They do not fit the matrices, or hold what is not a trit.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    return dict(weights) | {name: unpack(weights[name], shapes[name]) for name in packed_names(module)}


@torch.no_grad()
def trits_by_matrix(model: nn.Module) -> dict[str, Tensor]:
    """The trits of each ternary matrix of a model by its name, int8."""
    return {
        name: trits_of(layer.weight, scale_of(layer.weight)).to(torch.int8)
        for name, layer in model.named_modules()
        if isinstance(layer, TernaryLinear)
    }
