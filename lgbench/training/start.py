"""The weights that a run takes over from a checkpoint before its first step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import torch
from torch import Tensor, nn

from lgbench.models.checkpoint import read_checkpoint_record, read_weights
from lgbench.models.tensors import first_nonfinite
from lgbench.models.tokenizer import Vocabulary
from lgbench.training.planned import Start, start_folder
from lgbench.util.errors import LgbenchError


def start_from(start: Start, module: nn.Module, vocabulary: Vocabulary) -> None:
    """Put weights of a checkpoint, or chosen parts of them, into a freshly built module.

    Args:
        start: The checkpoint and the parts.
        module: The module. Tensors that the patterns do not choose are left alone.
        vocabulary: The tokens that the module reads and writes.

    Raises:
        LgbenchError: The weights are others than planned, or do not fit the module or its vocabulary.
    """
    folder = start_folder(start)
    found, own = read_weights(folder), module.state_dict()
    names = _chosen(found, start.parts, folder) if start.parts else list(found)
    if not start.parts and (missing := sorted(own.keys() - found.keys())):
        raise _unfit(folder, f"it has no {missing[0]!r}, which the module has.")
    for name in names:
        if name not in own:
            raise _unfit(folder, f"the module has no {name!r}.")
        if own[name].shape != found[name].shape:
            here, there = tuple(own[name].shape), tuple(found[name].shape)
            raise _unfit(folder, f"{name} has shape {there} there and {here} in the module.")
    _check_vocabulary(folder, {name: found[name] for name in names}, vocabulary)
    with torch.no_grad():
        for name in names:
            own[name].copy_(found[name])
    if (damaged := first_nonfinite(module)) is not None:
        raise LgbenchError(f"The weights in {str(folder)!r} are damaged: {damaged} holds what is not a number.")


def _chosen(found: Mapping[str, Tensor], patterns: Sequence[str], folder: Path) -> list[str]:
    """The names that a pattern fits. Each pattern must fit some."""
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in found):
            few = ", ".join(list(found)[:6]) + (", ..." if len(found) > 6 else "")
            raise LgbenchError(f"--start-parts {pattern!r} fits no parameter in {str(folder)!r}, which has: {few}.")
    return [name for name in found if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _check_vocabulary(folder: Path, taken: Mapping[str, Tensor], vocabulary: Vocabulary) -> None:
    """Refuse tables of tokens whose numbers mean other text here. Tables are known by their size."""
    tokens = read_checkpoint_record(folder).tokens
    if tokens.tokens == vocabulary.tokens:
        return
    tables = [name for name, tensor in taken.items() if len(tokens) in tensor.shape]
    if tables:
        raise LgbenchError(
            f"The checkpoint {str(folder)!r} was trained with another vocabulary: its {', '.join(tables)} would mean "
            "other tokens. Take the other parts only, as in --start-parts 'blocks.*'."
        )


def _unfit(folder: Path, detail: str) -> LgbenchError:
    return LgbenchError(
        f"The run cannot start from {str(folder)!r}: {detail} Build the module as it was built there, or name the "
        "parts that fit, as in --start-parts 'blocks.*'."
    )
