"""One optimizer step: the gradient of a batch, and the optimizer that takes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.models.packed import packed_logits
from lgbench.models.transformer import Transformer
from lgbench.training.batching import IGNORED, Batch
from lgbench.training.settings import TrainingSettings, learning_rate
from lgbench.util.errors import LgbenchError

_MUON: Any = getattr(torch.optim, "Muon", None)  # of PyTorch 2.9 and later
_OF_ADAMW, _OF_MUON = frozenset({"step", "exp_avg", "exp_avg_sq"}), frozenset({"momentum_buffer"})


class Optimizers:
    """One optimizer or more, each of its own parameters, that step together.

    Parameters are numbered through all of them, as PyTorch numbers those of one.

    Args:
        parts: The optimizers, each with its highest learning rate.
    """

    def __init__(self, parts: Sequence[tuple[torch.optim.Optimizer, float]]) -> None:
        self._parts = tuple(parts)

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Every parameter that is trained, by number."""
        return [each for part, _ in self._parts for group in part.param_groups for each in group["params"]]

    def step(self, settings: TrainingSettings, step: int) -> None:
        """Take step number `step`, from 0, and drop the gradients."""
        for part, highest in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate(settings, step, highest=highest)
                if step >= settings.decay_until * settings.steps:
                    group["weight_decay"] = 0.0
            part.step()
            part.zero_grad(set_to_none=True)

    def moments(self) -> dict[int, dict[str, Tensor]]:
        """What the optimizers remember of each parameter, by its number."""
        found: dict[int, dict[str, Tensor]] = {}
        for part, first in self._numbered():
            found |= {first + number: moments for number, moments in part.state_dict()["state"].items()}
        return found

    def load_moments(self, moments: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Take back what `moments` gave."""
        for part, first in self._numbered():
            count = sum(len(group["params"]) for group in part.param_groups)
            own = {number - first: dict(moments[number]) for number in range(first, first + count) if number in moments}
            part.load_state_dict({"state": own, "param_groups": part.state_dict()["param_groups"]})

    def moment_names(self, number: int) -> frozenset[str]:
        """What is remembered of a parameter once it was stepped."""
        part = next(part for part, first in reversed(list(self._numbered())) if first <= number)
        return _OF_ADAMW if isinstance(part, torch.optim.AdamW) else _OF_MUON

    def _numbered(self) -> Iterator[tuple[torch.optim.Optimizer, int]]:
        """Each optimizer with the number of its first parameter."""
        first = 0
        for part, _ in self._parts:
            yield part, first
            first += sum(len(group["params"]) for group in part.param_groups)


def make_optimizer(module: nn.Module, settings: TrainingSettings) -> Optimizers:
    """The optimizer that the settings name.

    AdamW decays matrices but neither scales nor biases. Muon (Jordan et al., 2024), as PyTorch has it, takes the
    matrices that map vectors to vectors; AdamW keeps the embedding and the output layer, which are tables of tokens.

    Raises:
        LgbenchError: This PyTorch has no Muon, or the module has no matrix for it.
    """
    trained = {name: each for name, each in module.named_parameters() if each.requires_grad}
    hidden = _hidden_matrices(module) & trained.keys() if settings.optimizer == "muon" else frozenset()
    others = [each for name, each in trained.items() if name not in hidden]
    groups = [
        {"params": [each for each in others if each.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [each for each in others if each.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    adamw = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True)
    if settings.optimizer == "adamw":
        return Optimizers([(adamw, settings.learning_rate)])
    if _MUON is None:
        raise LgbenchError(f"optimizer=muon needs PyTorch 2.9 or later; this is {torch.__version__}.")
    if not hidden:
        raise LgbenchError("optimizer=muon needs linear layers inside the module, and it has none.")
    muon = _MUON(
        [trained[name] for name in trained if name in hidden],
        lr=settings.matrix_learning_rate,
        weight_decay=settings.weight_decay,
    )
    return Optimizers([(adamw, settings.learning_rate), (muon, settings.matrix_learning_rate)])


def _hidden_matrices(module: nn.Module) -> frozenset[str]:
    """The names of the weights of linear layers, but for layers that share a weight with an embedding or end in tokens.

    The last linear layer of a module is its output, whose rows are tokens.
    """
    tables = {id(each.weight) for each in module.modules() if isinstance(each, nn.Embedding)}
    linear = [(name, each) for name, each in module.named_modules() if isinstance(each, nn.Linear)]
    return frozenset(f"{name}.weight" for name, each in linear[:-1] if id(each.weight) not in tables)


def backward(forward: Callable[[Tensor], Tensor], batch: Batch, *, device: str, precision: str) -> Tensor:
    """Add the gradient of a batch's mean loss over its target tokens and ends; that loss, shape ()."""
    total = torch.zeros((), device=device)
    for inputs, labels in batch.chunks:
        inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision == "bfloat16"):
            logits = forward(inputs)
        flat, wanted = logits.float().flatten(0, 1), labels.flatten()
        loss = F.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum") / batch.target_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def packed_backward(model: Transformer, batch: Batch, *, precision: str) -> Tensor:
    """As `backward` for the reference model on the CPU, all chunks at once. The gradient differs by rounding only."""
    labels = torch.cat([chunk.labels.flatten() for chunk in batch.chunks])
    wanted = (labels != IGNORED).nonzero().flatten()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        logits = packed_logits(model, [chunk.inputs for chunk in batch.chunks], wanted)
    exact = torch.promote_types(logits.dtype, torch.float32)
    loss = F.cross_entropy(logits.to(exact), labels[wanted], reduction="sum") / batch.target_tokens
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def take_step(
    module: nn.Module,
    optimizer: Optimizers,
    batch: Batch,
    settings: TrainingSettings,
    *,
    step: int,
    device: str,
    forward: Callable[[Tensor], Tensor],
) -> Tensor:
    """Step number `step`, from 0; gives the batch's mean loss before it, shape (), still on the device.

    Args:
        module: What is trained.
        optimizer: Of its parameters.
        batch: The examples.
        settings: Every hyperparameter.
        step: Its number, for the learning rate.
        device: Where the module is.
        forward: The module, perhaps compiled.
    """
    if settings.packed and not settings.compile and device == "cpu" and type(module) is Transformer:
        loss = packed_backward(module, batch, precision=settings.precision)
    else:
        loss = backward(forward, batch, device=device, precision=settings.precision)
    nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
    optimizer.step(settings, step)
    return loss
