"""Filters of a model's own labels: by length, by vote, by confidence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.data.task import Example
from lgbench.models.tokenizer import Vocabulary
from lgbench.training.batching import IGNORED, pad
from lgbench.training.rows import encode_row

_AT_ONCE = 64


def long_enough(lengths: Sequence[int], short_by: int) -> list[bool]:
    """Which replies are less than `short_by` tokens shorter than the longest of them.

    Wrong replies to long prompts mostly lack steps (Lee et al., section 5.1).

    Examples:
        >>> long_enough([9, 10, 8], short_by=2)
        [True, True, False]
    """
    longest = max(lengths, default=0)
    return [length >= longest - short_by + 1 for length in lengths]


def majority(replies: Sequence[Sequence[str]], agreement: float) -> list[str | None]:
    """For each prompt the reply that enough models gave, or None.

    Args:
        replies: Each model's replies, a whole reply for each prompt.
        agreement: The least share of the models.

    Examples:
        >>> majority([["ab", "x"], ["ab", "y"], ["ba", "z"]], agreement=0.6)
        ['ab', None]
    """
    needed = math.ceil(agreement * len(replies) - 1e-9)
    found: list[str | None] = []
    for votes in zip(*replies, strict=True):
        reply, count = Counter(votes).most_common(1)[0]
        found.append(reply if count >= needed else None)
    return found


@torch.no_grad()
def confidences(
    module: nn.Module, vocabulary: Vocabulary, task: str, prompts: Sequence[str], replies: Sequence[str], device: str
) -> list[float]:
    """The probability that a model gives to each whole reply, the end included."""
    found: list[float] = []
    was_training = module.training
    module.eval()
    for first in range(0, len(prompts), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        rows = [
            encode_row(vocabulary, Example(task, 0, 0, prompt, reply))
            for prompt, reply in zip(prompts[some], replies[some], strict=True)
        ]
        inputs, labels = pad(rows)
        logits = module(inputs.to(device)).float()
        losses = F.cross_entropy(logits.transpose(1, 2), labels.to(device), ignore_index=IGNORED, reduction="none")
        found += (-losses.sum(dim=1)).exp().tolist()
    module.train(was_training)
    return found
