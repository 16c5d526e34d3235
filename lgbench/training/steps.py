"""Layer 4: one optimizer step: the gradient of a batch, and the optimizer that takes it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.training.batching import IGNORED, Batch
from lgbench.training.settings import TrainingSettings, learning_rate


def make_optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices but neither scales nor biases."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [each for each in trained if each.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [each for each in trained if each.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True)


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


def take_step(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
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
    for group in optimizer.param_groups:
        group["lr"] = learning_rate(settings, step)
    loss = backward(forward, batch, device=device, precision=settings.precision)
    nn.utils.clip_grad_norm_(module.parameters(), settings.gradient_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss
