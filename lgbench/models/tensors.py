"""Named tensors in a safetensors file: the weights of a checkpoint, the state of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lgbench.util.errors import LgbenchError


def packed(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors as the content of a safetensors file, which takes none that share memory or have gaps: each is copied."""
    copies = {name: each.detach().cpu().clone(memory_format=torch.contiguous_format) for name, each in tensors.items()}
    return save(copies, metadata)


def read_tensors(path: Path, *, advice: str) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Args:
        path: The file.
        advice: What to do where it is missing or damaged: a sentence.

    Raises:
        LgbenchError: The file is missing, truncated or in another format.
    """
    with _damage(path, advice):
        return load_file(path)


def read_shapes(path: Path, *, advice: str) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor of a safetensors file, read from its header alone. Arguments as for `read_tensors`.

    Raises:
        LgbenchError: The file is missing, truncated or in another format.
    """
    with _damage(path, advice):
        return shapes(path)


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The same of a file that is there.

    Raises:
        SafetensorError: The file is truncated or in another format.
    """
    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping


@contextlib.contextmanager
def _damage(path: Path, advice: str) -> Iterator[None]:
    if not path.is_file():
        raise LgbenchError(f"There is no {path.name} in {path.parent}. {advice}")
    try:
        yield
    except SafetensorError as error:
        reason = "truncated" if "not fully covered" in str(error) else "not a safetensors file"
        raise LgbenchError(f"{path} is {reason} ({error}). {advice}") from None


def first_nonfinite(module: nn.Module) -> str | None:
    """The name of a tensor of a module that training or a copy has first_nonfinite; None where all is well.

    No parameter may hold anything but numbers. A buffer may hold infinities, as masks do.
    """
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for name, tensor in module.state_dict().items():
        values = tensor.float() if tensor.is_floating_point() else tensor  # not every type can be asked
        if not (values.isfinite() if name in parameters else ~values.isnan()).all():
            return name
    return None
