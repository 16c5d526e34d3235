"""The state that an interrupted run goes on from, whole at every moment.

The state is one safetensors file, written under another name and renamed, so a full disk or a kill leaves the one
before. Its metadata holds the run's record; nothing in it is executable.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from safetensors import safe_open
from torch import Tensor, nn

from lgbench.models.tensors import packed, read_tensors
from lgbench.training.record import RECORD, TrainingRecord
from lgbench.training.saving import generator_tensors, load_generators, load_trained, trained_tensors
from lgbench.training.steps import Optimizers
from lgbench.util.errors import LgbenchError
from lgbench.util.files import write_atomically
from lgbench.util.records import write_record

STATE = "state.safetensors"
START_ANEW = "It is damaged: delete the folder and train again."
"""What to do with a damaged state of a run."""
POOLS = "pools"
"""The tensor that holds what is in the pools of examples."""
HOOKS = "hooks."
"""What the names of the hooks' tensors begin with."""


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
    tensors = trained_tensors(module, optimizer) | generator_tensors(module)
    if pools is not None:
        tensors[POOLS] = pools
    tensors |= {f"{HOOKS}{name}": tensor for name, tensor in (of_hooks or {}).items()}
    try:
        metadata = {"record": record.model_dump_json(), "progress": json.dumps(progress)}
        write_atomically(folder / STATE, packed(tensors, metadata))
        write_record(folder / RECORD, record)
    except OSError as error:
        kept = "The state saved before is intact: make room, then go on with --resume."
        lost = "Nothing was saved before: make room, then train again."
        raise LgbenchError(
            f"Cannot write to {str(folder)!r}: {error.strerror or error}. {kept if (folder / STATE).exists() else lost}"
        ) from error


def read_state(folder: Path) -> SavedState | None:
    """The record and the tensors of the saved state; None where a folder has none.

    Raises:
        LgbenchError: The file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    tensors = read_tensors(path, advice=START_ANEW)
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
    try:
        record = TrainingRecord.model_validate_json(metadata.get("record", ""), strict=True)
        progress = json.loads(metadata.get("progress", "{}"))
    except ValueError as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise LgbenchError(f"{path} is not a state of this version of lgbench ({reason}). {START_ANEW}") from None
    return SavedState(record, tensors, progress)


def restore(tensors: Mapping[str, Tensor], module: nn.Module, optimizer: Optimizers) -> None:
    """Put a saved state back into a freshly built module, its optimizer and PyTorch's generators.

    Raises:
        LgbenchError: The module has other tensors than the one that was saved, or the state is damaged.
    """
    load_trained(tensors, module, optimizer, advice=START_ANEW)
    load_generators(tensors, module, advice=START_ANEW)
