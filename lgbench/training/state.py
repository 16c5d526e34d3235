"""Layer 4: a run's folder: one process at a time, and a state to resume from that is whole at every moment.

The state is one safetensors file, written under another name and renamed, so a full disk or a kill leaves the one
before. Its metadata holds the run's record; nothing in it is executable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lgbench.errors import LgbenchError
from lgbench.models.checkpoint import read_tensors
from lgbench.training.record import RECORD, TrainingRecord

STATE = "state.safetensors"
_GENERATOR = "generator"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder, made if it is missing. The operating system frees it however the process ends.

    Raises:
        LgbenchError: Another process holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise LgbenchError(f"Another process is writing {folder}. Wait for it, or choose another --output.") from None


def save_state(folder: Path, module: nn.Module, optimizer: torch.optim.Optimizer, record: TrainingRecord) -> None:
    """Write the state after `record.steps_done` steps, then `training.json`.

    Raises:
        LgbenchError: It cannot be written; the state before is intact.
    """
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    for number, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": tensor for name, tensor in moments.items()}
    tensors[_GENERATOR] = torch.get_rng_state()
    # Copies, as the format refuses tensors that share memory, such as tied weights.
    copies = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
    text = record.model_dump_json(indent=1) + "\n"
    replace_file(folder / STATE, lambda path: save_file(copies, path, metadata={"record": text}))
    replace_file(folder / RECORD, lambda path: path.write_text(text, "utf-8"))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name and rename it.

    Raises:
        LgbenchError: It cannot be written; what was there before is intact.
    """
    unfinished = path.with_name(path.name + ".tmp")
    try:
        write(unfinished)
        unfinished.replace(path)
    except (OSError, SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        raise LgbenchError(
            f"Cannot write {path}: {error}. What was saved before is intact: make room and run again with --resume."
        ) from None


def read_state(folder: Path) -> tuple[TrainingRecord, dict[str, Tensor]] | None:
    """The record and the tensors of the saved state; null where a folder has none.

    Raises:
        LgbenchError: The file is damaged.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    tensors = read_tensors(path)
    with safe_open(path, "pt") as file:
        text = (file.metadata() or {}).get("record", "")
    try:
        return TrainingRecord.model_validate_json(text), tensors
    except ValueError:
        raise LgbenchError(f"{path} is not a state of this version of lgbench. Delete the folder and train again.") from None


def restore(tensors: dict[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put a saved state back into a freshly built module and its optimizer."""
    weights = {name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")}
    module.load_state_dict(weights)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, moment = name.split(".")
            moments.setdefault(int(number), {})[moment] = tensor
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(tensors[_GENERATOR])
