"""Layer 4: how fast a run trains, and how well."""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor

from lgbench.training.batching import Batch


class Since(NamedTuple):
    """What a run did since the last point of its curve.

    Attributes:
        loss: Mean over the steps, in nats a target token.
        tokens: Read, without padding.
        target_tokens: Those that the loss was taken on.
        seconds: What the steps took.
    """

    loss: float
    tokens: int
    target_tokens: int
    seconds: float


class Meter:
    """Loss, tokens and time since the last report, and since the last point of the curve.

    The loss is summed on the device, so that a step does not wait for the one before.
    """

    def __init__(self, device: str) -> None:
        self._loss = torch.zeros((), device=device)
        self._steps = 0
        self._read_at = time.perf_counter()
        self._point_loss, self._point_steps, self._point_seconds = 0.0, 0, 0.0
        self._tokens = self._target_tokens = 0

    def add(self, loss: Tensor, batch: Batch) -> None:
        """Take in a step."""
        self._loss += loss
        self._steps += 1
        self._tokens += batch.tokens
        self._target_tokens += batch.target_tokens

    def read(self, *, examples: int) -> tuple[float, float]:
        """The mean loss since the last call, and the examples a second, of which a step has so many."""
        loss, steps, now = float(self._loss), self._steps, time.perf_counter()
        seconds = now - self._read_at
        self._loss, self._steps, self._read_at = torch.zeros_like(self._loss), 0, now
        self._point_loss, self._point_steps = self._point_loss + loss, self._point_steps + steps
        self._point_seconds += seconds
        return loss / steps, steps * examples / seconds

    def restart_clock(self) -> None:
        """Start timing anew: evaluating and saving do not count."""
        self._read_at = time.perf_counter()

    def since_point(self) -> Since:
        """What has been read since the last call."""
        mean = self._point_loss / self._point_steps
        since = Since(mean, self._tokens, self._target_tokens, self._point_seconds)
        self._point_loss, self._point_steps, self._point_seconds = 0.0, 0, 0.0
        self._tokens = self._target_tokens = 0
        return since
