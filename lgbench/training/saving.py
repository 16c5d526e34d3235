"""A module in training as tensors that a file can hold, and back: weights, moments of the optimizer, generators."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn

from lgbench.models.tensors import packed, read_tensors
from lgbench.training.steps import Optimizers
from lgbench.util.errors import LgbenchError
from lgbench.util.files import write_atomically, write_errors

MODEL = "model."
"""What the names of a module's tensors begin with."""
_OPTIMIZER = "optimizer."
_GENERATOR, _CUDA_GENERATOR = "generator", "cuda_generator"


def trained_tensors(module: nn.Module, optimizer: Optimizers) -> dict[str, Tensor]:
    """The tensors of a module as `model.NAME`, and the moments of its optimizer as `optimizer.NUMBER.NAME`."""
    tensors = {f"{MODEL}{name}": tensor for name, tensor in module.state_dict().items()}
    for number, moments in optimizer.moments().items():
        tensors |= {f"{_OPTIMIZER}{number}.{name}": tensor for name, tensor in moments.items()}
    return tensors


def load_trained(tensors: Mapping[str, Tensor], module: nn.Module, optimizer: Optimizers, *, advice: str) -> None:
    """Put what `trained_tensors` gave into a freshly built module and its optimizer.

    Args:
        tensors: The tensors. Those with other names are passed over.
        module: The module.
        optimizer: Its optimizer.
        advice: What to do where they are damaged: a sentence.

    Raises:
        LgbenchError: The module has other tensors than the one that was saved, or they are damaged.
    """
    weights = {name.removeprefix(MODEL): each for name, each in tensors.items() if name.startswith(MODEL)}
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
        if name.startswith(_OPTIMIZER):
            number, moment = _place(name, tensor, optimizer, advice)
            # A copy: what was read is mapped from the file, and would keep its space taken once it is replaced. It lies
            # in memory as its parameter does, by which the optimizer chooses a kernel.
            like = parameters[number] if moment != "step" else tensor
            moments.setdefault(number, {})[moment] = torch.empty_like(like, requires_grad=False).copy_(tensor)
    for number, found in moments.items():
        if missing := sorted(optimizer.moment_names(number) - found.keys()):
            raise LgbenchError(f"The saved state lacks '{_OPTIMIZER}{number}.{missing[0]}'. {advice}")
    optimizer.load_moments(moments)


def generator_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state of PyTorch's generator, and of that of the module's GPU."""
    found = {_GENERATOR: torch.get_rng_state()}
    if (device := _device(module)).type == "cuda":
        found[_CUDA_GENERATOR] = torch.cuda.get_rng_state(device)
    return found


def load_generators(tensors: Mapping[str, Tensor], module: nn.Module, *, advice: str) -> None:
    """Set the generators as `generator_tensors` found them. Arguments as for `load_trained`.

    Raises:
        LgbenchError: Their state is missing or damaged.
    """
    try:
        torch.set_rng_state(tensors[_GENERATOR])
        if (device := _device(module)).type == "cuda" and _CUDA_GENERATOR in tensors:
            torch.cuda.set_rng_state(tensors[_CUDA_GENERATOR], device)
    except (KeyError, TypeError, RuntimeError) as error:
        raise LgbenchError(f"The saved state has no usable {_GENERATOR} ({error}). {advice}") from None


class SideTraining:
    """The file of a training that is not a run itself, such as pretraining: it resumes from there.

    Args:
        path: The file.
        plan: All that the training depends on, in words. A file of another plan is refused.
        advice: What to do where the file is damaged: a sentence.
    """

    def __init__(self, path: Path, plan: str, *, advice: str) -> None:
        self.path, self._plan, self._advice = path, plan, advice

    def save(self, module: nn.Module, optimizer: Optimizers, progress: Mapping[str, float]) -> None:
        """Write the state, whole or not at all.

        Args:
            module: The module.
            optimizer: Its optimizer.
            progress: What else the next step depends on, such as how many were taken.

        Raises:
            LgbenchError: It cannot be written.
        """
        tensors = trained_tensors(module, optimizer) | generator_tensors(module)
        with write_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, packed(tensors, {"plan": self._plan, "progress": json.dumps(dict(progress))}))

    def load(self, module: nn.Module, optimizer: Optimizers, progress: Mapping[str, float]) -> dict[str, float]:
        """Put the saved state into a freshly built module, its optimizer and PyTorch's generators.

        Args:
            module: The module.
            optimizer: Its optimizer.
            progress: That of a training which begins: it is returned where there is no file.

        Returns:
            The progress, with the same names.

        Raises:
            LgbenchError: The file is damaged, or of another plan.
        """
        if not self.path.exists():
            return dict(progress)
        tensors = read_tensors(self.path, advice=self._advice)
        with safe_open(self.path, "pt") as file:
            said = file.metadata() or {}
        if said.get("plan") != self._plan:
            raise LgbenchError(f"{str(self.path)!r} is of another training. Choose another --output.")
        try:
            saved = json.loads(said["progress"])
            found = {name: type(first)(saved[name]) for name, first in progress.items()}
        except (KeyError, TypeError, ValueError):
            raise LgbenchError(f"{str(self.path)!r} is no state of this version of lgbench. {self._advice}") from None
        load_trained(tensors, module, optimizer, advice=self._advice)
        load_generators(tensors, module, advice=self._advice)
        return found


def _place(name: str, tensor: Tensor, optimizer: Optimizers, advice: str) -> tuple[int, str]:
    """The number of the parameter that a moment of the optimizer is of, and the moment's name.

    Raises:
        LgbenchError: There is no such parameter or moment, or it has another shape or type: PyTorch itself checks none.
    """
    _, number, moment = [*name.split("."), "", ""][:3]
    parameters = optimizer.parameters
    # Only so many digits: `int` refuses thousands of them.
    position = int(number) if number.isdecimal() and len(number) < 10 else len(parameters)
    if position >= len(parameters) or moment not in optimizer.moment_names(position):
        raise LgbenchError(f"The saved state has {name[:60]!r}, which is not a moment of a parameter. {advice}")
    of_weight = parameters[position]
    shape, dtype = ((), torch.float32) if moment == "step" else (tuple(of_weight.shape), of_weight.dtype)
    if tuple(tensor.shape) != shape:
        raise LgbenchError(f"The saved state has {name!r} of shape {tuple(tensor.shape)}, not {shape}. {advice}")
    if tensor.dtype != dtype:
        raise LgbenchError(f"The saved state has {name!r} as {tensor.dtype}, not {dtype}. {advice}")
    return position, moment


def _device(module: nn.Module) -> torch.device:
    return next(parameter.device for parameter in module.parameters())
