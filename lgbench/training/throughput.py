"""How fast a run trains, and how well."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from lgbench.training.batching import Batch


class Since(NamedTuple):
    """What a run did since its state was last saved.

    Attributes:
        tokens: Read, without padding.
        target_tokens: Those that the loss was taken on.
        seconds: What the steps took.
    """

    tokens: int
    target_tokens: int
    seconds: float


class Throughput:
    """Loss, tokens and time of a run: since the last report, the last point of the curve, and the last save.

    The loss is summed on the device, so that a step does not wait for the one before.
    """

    def __init__(self, device: str) -> None:
        self._loss = torch.zeros((), device=device)
        self._steps = 0
        self._read_at = time.perf_counter()
        self._point_loss, self._point_steps = 0.0, 0
        self._tokens, self._target_tokens, self._seconds = 0, 0, 0.0

    def add(self, loss: Tensor, batch: Batch) -> None:
        """Take in a step."""
        self._loss += loss
        self._steps += 1
        self._tokens += batch.tokens
        self._target_tokens += batch.target_tokens

    def read(self, *, examples: int) -> tuple[float, float]:
        """The mean loss since the last call, and the examples a second, at so many examples a step."""
        loss, steps = float(self._loss), self._steps
        seconds = self._lap()
        self._loss, self._steps = torch.zeros_like(self._loss), 0
        self._point_loss, self._point_steps = self._point_loss + loss, self._point_steps + steps
        return loss / steps, steps * examples / seconds

    def _lap(self) -> float:
        """The seconds since the clock was last read or restarted."""
        now = time.perf_counter()
        seconds, self._read_at = now - self._read_at, now
        self._seconds += seconds
        return seconds

    def restart_clock(self) -> None:
        """Leave out the time since the clock was last read: evaluating and saving do not count."""
        self._read_at = time.perf_counter()

    def point_loss(self) -> float:
        """The mean loss over the steps that were read since the last call, in nats a target token."""
        mean = self._point_loss / self._point_steps
        self._point_loss, self._point_steps = 0.0, 0
        return mean

    def since_save(self) -> Since:
        """What was done since the last call."""
        if self._steps:  # a save between two reports
            self._lap()
        since = Since(self._tokens, self._target_tokens, self._seconds)
        self._tokens, self._target_tokens, self._seconds = 0, 0, 0.0
        return since

    def state(self) -> dict[str, float]:
        """The sums that a resumed run needs to end in the same losses, to the last digit."""
        return {
            "loss": float(self._loss),
            "steps": self._steps,
            "point_loss": self._point_loss,
            "point_steps": self._point_steps,
        }

    def load_state(self, state: Mapping[str, float]) -> None:
        """Take back what `state` gave; a state of a run that was saved at a point may lack it."""
        if state:
            self._loss += state["loss"]
            self._steps, self._point_steps = int(state["steps"]), int(state["point_steps"])
            self._point_loss = state["point_loss"]
