"""R&B's balance: shares of domains from the inner products of their gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.training.batching import IGNORED, Batch
from lgbench.training.rows import Row


def gram(sums: Tensor, counts: Tensor) -> Tensor:
    """G_ij = <g_i, g_j> / (|S_i| |S_j|), shape (domains, domains).

    Args:
        sums: The summed gradients of each domain's examples, shape (domains, ...).
        counts: The numbers of its examples |S|, shape (domains,).
    """
    means = sums.flatten(1) / counts[:, None]
    found: Tensor = means @ means.T
    return found


def balanced(products: Tensor, target: Tensor, *, strength: float, floor: float) -> Tensor:
    """The shares of the next round: softmax(strength * G p / ||G p||), raised so that none is below the floor.

    Args:
        products: G, shape (domains, domains).
        target: The proportions p in which the domains count, shape (domains,).
        strength: The paper's lambda.
        floor: The least share of a domain, so that each has a gradient in the next round.
    """
    gain = products @ target
    shares = (strength * gain / gain.norm().clamp(min=torch.finfo(gain.dtype).tiny)).softmax(dim=0)
    raised: Tensor = floor + (1 - floor * len(shares)) * shares
    return raised


class HeadGradients:
    """The gradients of the output layer's weights, summed by domain, from what passes through it in ordinary steps.

    An example's gradient is that of the mean loss over its own target tokens: the outer products of the output layer's
    input and of softmax minus the target, over the number of these.

    Args:
        head: The output layer; it has no bias.
        domains: Number of domains.
    """

    def __init__(self, head: torch.nn.Linear, domains: int) -> None:
        self.sums = torch.zeros(domains, *head.weight.shape, device=head.weight.device)
        self.counts = torch.zeros(domains, device=head.weight.device)
        self._passes: list[tuple[Tensor, Tensor]] = []
        self._open = False
        head.register_forward_hook(self._keep)

    def _keep(self, _: torch.nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._open:
            self._passes.append((inputs[0].detach(), output.detach()))

    def begin(self) -> None:
        """Collect the gradients of the next step."""
        self._passes, self._open = [], True

    def end(self, batch: Batch, order: Sequence[int]) -> None:
        """Add the gradients of the step.

        Args:
            batch: The batch of the step.
            order: The domain of each row, through the batch's chunks.
        """
        self._open = False
        labels = torch.cat([chunk.labels.flatten() for chunk in batch.chunks]).to(self.sums.device)
        asked = (labels != IGNORED).nonzero().flatten()
        hidden, logits = (
            torch.cat([each.flatten(0, -2) for each in parts]) for parts in zip(*self._passes, strict=True)
        )
        self._passes = []
        if len(hidden) == len(labels):  # the packed step passes only what is asked
            hidden, logits = hidden[asked], logits[asked]
        per_row = torch.cat([(chunk.labels != IGNORED).sum(dim=1) for chunk in batch.chunks]).to(self.sums.device)
        domain = torch.tensor(list(order), device=self.sums.device)
        weight = (1 / per_row).repeat_interleave(per_row)
        off = (logits.float().softmax(dim=-1) - F.one_hot(labels[asked], logits.shape[-1])) * weight[:, None]
        of_position = domain.repeat_interleave(per_row)
        for number in sorted(set(order)):
            own = of_position == number
            self.sums[number].addmm_(off[own].T, hidden[own].float())
        self.counts += torch.bincount(domain, minlength=len(self.counts))

    def clear(self) -> None:
        """Begin the next round."""
        self.sums.zero_()
        self.counts.zero_()


def sorted_order(rows: Sequence[Row], chunks: int) -> list[int]:
    """The order of the rows in the chunks that `make_batch` makes of them."""
    numbers = range(len(rows))
    return sorted(numbers, key=lambda number: len(rows[number].tokens)) if chunks > 1 else list(numbers)
