"""Rows of tokens, and the scores of their targets under teacher forcing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lgbench.analysis.hooked import HookedModel
from lgbench.data.task import Example

_NONE = -100


@dataclass(frozen=True)
class Rows:
    """Examples whose prompts have equally many tokens, as a batch. Targets are padded at the end.

    Attributes:
        places: Which of the examples these are.
        tokens: What the model reads, int64, shape (batch, time): the prompt and the target without its end.
        start: Tokens of the prompt, with all that comes before it. Position `start - 1` writes the first of the target.
        labels: The target with its end, shape (batch, time - start + 1); -100 after it.
    """

    places: Tensor
    tokens: Tensor
    start: int
    labels: Tensor

    @property
    def wanted(self) -> Tensor:
        """Where a label is, bool, shape (batch, time - start + 1)."""
        return self.labels != _NONE

    @property
    def last(self) -> Tensor:
        """The position that writes the end, shape (batch,)."""
        return self.wanted.sum(dim=1) + self.start - 2

    def extended(self, outputs: Tensor) -> Tensor:
        """Heads' outputs in which a row that ends sooner than others continues with what it has at its last position.

        Args:
            outputs: Shape (layers, batch, time, heads, size).
        """
        positions = torch.arange(self.tokens.shape[1], device=self.tokens.device)
        source = torch.minimum(positions[None], self.last[:, None])
        rows = torch.arange(len(self.tokens), device=self.tokens.device)[:, None]
        return outputs[:, rows, source]


def make_rows(model: HookedModel, examples: Sequence[Example]) -> list[Rows]:
    """The examples as batches, by the tokens of their prompts.

    One that is alone with its number is left out: there is no other to take a head's output from.

    Raises:
        LgbenchError: The vocabulary lacks the task or a character.
    """
    by_size: dict[int, list[tuple[int, list[int], list[int]]]] = {}
    for place, each in enumerate(examples):
        prompt, target = model.encode(each.task, each.prompt, each.target)
        by_size.setdefault(len(prompt), []).append((place, prompt, target))
    return [_batch(model, size, rows) for size, rows in sorted(by_size.items()) if len(rows) > 1]


def _batch(model: HookedModel, size: int, rows: list[tuple[int, list[int], list[int]]]) -> Rows:
    longest = max(len(target) for _, _, target in rows)
    labels = torch.full((len(rows), longest), _NONE)
    tokens = torch.zeros((len(rows), size + longest - 1), dtype=torch.int64)
    for at, (_, prompt, target) in enumerate(rows):
        labels[at, : len(target)] = torch.tensor(target)
        row = [*prompt, *target[:-1]]
        tokens[at, : len(row)] = torch.tensor(row)
    places = torch.tensor([place for place, _, _ in rows])
    return Rows(places, tokens.to(model.device), size, labels.to(model.device))


@dataclass(frozen=True)
class Scores:
    """The scores of targets, by variant, example and position of the target.

    Attributes:
        places: Which of the examples these are, shape (examples,).
        right: Whether the likeliest token is the label, bool, shape (variants, examples, positions); true after the
            end.
        logprob: Log-probability of the label, float64, the same shape; 0 after the end.
        wanted: Where a label is, shape (examples, positions).
    """

    places: Tensor
    right: Tensor
    logprob: Tensor
    wanted: Tensor

    @property
    def exact(self) -> Tensor:
        """Whether all of a target is right, shape (variants, examples)."""
        return self.right.all(dim=2)

    @property
    def mean_logprob(self) -> Tensor:
        """The mean over the tokens of each target, shape (variants, examples)."""
        return self.logprob.sum(dim=2) / self.wanted.sum(dim=1)

    def logprob_at(self) -> Tensor:
        """The mean log-probability by position, shape (variants, positions)."""
        return self.logprob.sum(dim=1) / self.wanted.sum(dim=0).clamp(min=1)


def score(rows: Rows, logits: Tensor) -> Scores:
    """Score the targets of rows by logits, shape (variants, batch, positions of the target, vocabulary)."""
    wanted = rows.wanted
    labels = rows.labels.clamp(min=0)[None, :, :, None].expand(len(logits), -1, -1, -1)
    chosen = logits.float().log_softmax(dim=-1).gather(3, labels)[..., 0].double()
    right = (logits.argmax(dim=-1) == rows.labels) | ~wanted
    return Scores(rows.places, right.cpu(), (chosen * wanted).cpu(), wanted.cpu())


def joined(parts: Iterable[Scores]) -> Scores:
    """The scores of several batches of one task, with the examples in their order."""
    each = list(parts)
    positions = max(part.wanted.shape[1] for part in each)
    places = torch.cat([part.places for part in each])
    order = places.argsort()

    def longer(tensor: Tensor, filled: float) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, positions - tensor.shape[-1]), value=filled)

    return Scores(
        places[order],
        torch.cat([longer(part.right, 1) for part in each], dim=1)[:, order],
        torch.cat([longer(part.logprob, 0) for part in each], dim=1)[:, order],
        torch.cat([longer(part.wanted, 0) for part in each])[order],
    )
