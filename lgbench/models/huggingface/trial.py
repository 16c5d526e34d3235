"""Which prompts a Hugging Face model may be asked together, found out by trying."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import torch

from lgbench.models.huggingface.decoding import Decoder, Row
from lgbench.models.huggingface.limits import ContextLimit

_log = logging.getLogger(__name__)

Together = Literal["any", "equal", "none"]
"""Prompts of any token counts; only those of equal counts; only one at a time."""

_STEPS = 3
_LONGEST = 48  # tokens of a prompt: enough to see, and little to wait for
_NOISE = 4
_WARNINGS = {
    "equal": "Padding changes this model's replies, since it does not mask all that shorter prompts are filled up "
    "with: only prompts with equal numbers of tokens are asked together.",
    "none": "Asking this model several prompts at once changes its replies, even where their numbers of tokens are "
    "equal: it is asked one prompt at a time, which is slow.",
}


def find_together(model: Any, tokens: Sequence[int], *, pad: int, limit: ContextLimit | None = None) -> Together:
    """Decode a few tokens of several rows alone and together, and compare logits. What is found is logged if it limits.

    Differences as rounding makes them do not count: about half of the digits of the model's type must agree, in most
    rows.

    Args:
        model: A causal language model.
        tokens: Those of a prompt. The rows are parts of it.
        pad: The token that fills shorter rows.
        limit: The most tokens that the model reads; found out here if not given.
    """
    most = (limit or ContextLimit(model)).below(_LONGEST + _STEPS) or _LONGEST + _STEPS
    tokens = tokens[: max(most - _STEPS, 0)]
    size = len(tokens)
    if size == 0:
        return "any"
    found: Together = "none"
    unequal = [tokens[:count] for count in (size, size - 1, 2 * size // 3, size // 3) if count > 0]
    half = (size + 1) // 2
    equal = [tokens[start : start + half] for start in (0, (size - half) // 2, size - half)]
    if _agree(model, unequal, pad=pad):
        found = "any"
    elif _agree(model, equal, pad=pad):
        found = "equal"
    if found in _WARNINGS:
        _log.warning(_WARNINGS[found])
    return found


def _agree(model: Any, rows: Sequence[Sequence[int]], *, pad: int) -> bool:
    """Whether most rows get the same logits together as alone. The first row of unequal ones must be the longest."""
    alone = [_logits(model, [row], pad=pad)[:, 0] for row in rows]
    try:
        together = _logits(model, rows, pad=pad)
    except Exception:  # noqa: BLE001  # code that cannot take these rows together raises anything
        return False
    changed = [_differ(alone[place], together[:, place]) for place in range(len(rows))]
    return 2 * sum(changed) < len(rows)


def _logits(model: Any, rows: Sequence[Sequence[int]], *, pad: int) -> torch.Tensor:
    """The logits of the first steps, shape (steps, rows, vocabulary)."""
    seen: list[torch.Tensor] = []
    decode = Decoder(model, ends=frozenset(), pad=pad, watch=lambda logits: seen.append(logits.clone()))
    decode([Row(row, cap=_STEPS) for row in rows])
    return torch.stack(seen)


def _differ(alone: torch.Tensor, together: torch.Tensor) -> bool:
    """Whether the logits of a row differ by more than noise, shape (steps, vocabulary), up to the first other token."""
    noise = _NOISE * torch.finfo(alone.dtype).eps ** 0.5
    for wanted, got in zip(alone.float(), together.float(), strict=True):
        scale = wanted[wanted.isfinite()].std()
        apart = (wanted - got)[wanted.isfinite() & got.isfinite()].abs().max()
        if apart > noise * scale:
            return True
        if wanted.argmax() != got.argmax():  # a tie: what follows is another text
            return False
    return False
