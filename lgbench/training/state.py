"""The state that an interrupted run goes on from, whole at every moment.

The state is one safetensors file, written under another name and renamed, so a full disk or a kill leaves the one
before. Its metadata holds the run's record; nothing in it is executable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor, nn

from lgbench.models.tensors import packed, read_tensors
from lgbench.training.record import RECORD, TrainingRecord
from lgbench.training.steps import Optimizers
from lgbench.util.errors import LgbenchError
from lgbench.util.files import write_atomically
from lgbench.util.records import write_record

STATE = "state.safetensors"
_START_ANEW = "It is damaged: delete the folder and train again."
POOLS = "pools"
"""The tensor that holds what is in the pools of examples."""
HOOKS = "hooks."
"""What the names of the hooks' tensors begin with."""
_GENERATOR, _CUDA_GENERATOR = "generator", "cuda_generator"


class SavedState(NamedTuple):
    """What `state.safetensors` holds.

    Attributes:
        record: Of the run, up to the steps whose state it is.
        tensors: Weights, moments of the optimizer, the state of the generator, the pools of examples, and the hooks'.
        progress: What else the next step depends on: sums of the meter, and the states of the hooks.
    """

    record: TrainingRecord
    tensors: dict[str, Tensor]
    progress: dict[str, Any]

    @property
    def of_hooks(self) -> dict[str, Tensor]:
        """The tensors of the hooks."""
        return {name.removeprefix(HOOKS): each for name, each in self.tensors.items() if name.startswith(HOOKS)}


def save_state(
    folder: Path,
    module: nn.Module,
    optimizer: Optimizers,
    record: TrainingRecord,
    progress: Mapping[str, Any],
    pools: Tensor | None = None,
    of_hooks: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state after `record.steps_done` steps, then `training.json`.

    Args:
        folder: The run's folder.
        module: The module.
        optimizer: Its optimizer.
        record: The run's record.
        progress: As in `SavedState`: anything that JSON can hold.
        pools: What is in the pools of examples, if there are any.
        of_hooks: The tensors of the hooks.

    Raises:
        LgbenchError: It cannot be written; the state before is intact.
    """
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    for number, moments in optimizer.moments().items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
    tensors[_GENERATOR] = torch.get_rng_state()
    if (device := _device(module)).type == "cuda":
        tensors[_CUDA_GENERATOR] = torch.cuda.get_rng_state(device)
    if pools is not None:
        tensors[POOLS] = pools
    tensors |= {f"{HOOKS}{name}": tensor for name, tensor in (of_hooks or {}).items()}
    try:
        metadata = {"record": record.model_dump_json(), "progress": _as_json(progress)}
        write_atomically(folder / STATE, packed(tensors, metadata))
        write_record(folder / RECORD, record)
    except OSError as error:
        kept = "The state saved before is intact: make room, then go on with --resume."
        lost = "Nothing was saved before: make room, then train again."
        raise LgbenchError(
            f"Cannot write to {str(folder)!r}: {error.strerror or error}. {kept if (folder / STATE).exists() else lost}"
        ) from error


def _as_json(progress: Mapping[str, Any]) -> str:
    try:
        return json.dumps(progress, allow_nan=True)
    except (TypeError, ValueError) as error:
        raise LgbenchError(f"A hook's state cannot be saved: {error}. It must be what JSON can hold.") from None


def read_state(folder: Path) -> SavedState | None:
    """The record and the tensors of the saved state; None where a folder has none.

    Raises:
        LgbenchError: The file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    tensors = read_tensors(path, advice=_START_ANEW)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    try:
        record = TrainingRecord.model_validate_json(metadata.get("record", ""), strict=True)
        progress = json.loads(metadata.get("progress", "{}"))
    except ValueError as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise LgbenchError(f"{path} is not a state of this version of lgbench ({reason}). {_START_ANEW}") from None
    return SavedState(record, tensors, progress)


def restore(tensors: dict[str, Tensor], module: nn.Module, optimizer: Optimizers) -> None:
    """Put a saved state back into a freshly built module and its optimizer.

    Raises:
        LgbenchError: The module has other tensors than the one that was saved, or the state is damaged.
    """
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        raise LgbenchError(
            f"The saved state does not fit the module ({detail}). Something that builds the module has changed since; "
            "restore it, or choose another --output."
        ) from None
    parameters = optimizer.parameters
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            number, moment = _place(name, tensor, optimizer)
            # A copy: what was read is mapped from the file, and would keep its space taken once it is replaced. It lies
            # in memory as its parameter does, by which the optimizer chooses a kernel.
            like = parameters[number] if moment != "step" else tensor
            moments.setdefault(number, {})[moment] = torch.empty_like(like, requires_grad=False).copy_(tensor)
    for number, found in moments.items():
        if missing := sorted(optimizer.moment_names(number) - found.keys()):
            raise LgbenchError(f"The saved state lacks 'optimizer.{number}.{missing[0]}'. {_START_ANEW}")
    optimizer.load_moments(moments)
    try:
        torch.set_rng_state(tensors[_GENERATOR])
        if (device := _device(module)).type == "cuda" and _CUDA_GENERATOR in tensors:
            torch.cuda.set_rng_state(tensors[_CUDA_GENERATOR], device)
    except (KeyError, TypeError, RuntimeError) as error:
        raise LgbenchError(f"The saved state has no usable {_GENERATOR} ({error}). {_START_ANEW}") from None


def _place(name: str, tensor: Tensor, optimizer: Optimizers) -> tuple[int, str]:
    """The number of the parameter that a moment of the optimizer is of, and the moment's name.

    Raises:
        LgbenchError: There is no such parameter or moment, or it has another shape or type: PyTorch itself checks none.
    """
    _, number, moment = [*name.split("."), "", ""][:3]
    parameters = optimizer.parameters
    # Only so many digits: `int` refuses thousands of them.
    position = int(number) if number.isdecimal() and len(number) < 10 else len(parameters)
    if position >= len(parameters) or moment not in optimizer.moment_names(position):
        raise LgbenchError(f"The saved state has {name[:60]!r}, which is not a moment of a parameter. {_START_ANEW}")
    of_weight = parameters[position]
    shape, dtype = ((), torch.float32) if moment == "step" else (tuple(of_weight.shape), of_weight.dtype)
    if tuple(tensor.shape) != shape:
        raise LgbenchError(f"The saved state has {name!r} of shape {tuple(tensor.shape)}, not {shape}. {_START_ANEW}")
    if tensor.dtype != dtype:
        raise LgbenchError(f"The saved state has {name!r} as {tensor.dtype}, not {dtype}. {_START_ANEW}")
    return position, moment


def _device(module: nn.Module) -> torch.device:
    return next(parameter.device for parameter in module.parameters())
