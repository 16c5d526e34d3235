"""A model, however it was found, together with what a result says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from lgbench.models.contract import Predictor
from lgbench.models.recorded import RecordedReplies
from lgbench.results import SystemInfo

MAX_DEVICE_CHARS = 200


class Trained(NamedTuple):
    """How a checkpoint of ours was trained, as it says itself."""

    suite: str
    group: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Model:
    """A loaded model and its description.

    Attributes:
        predictor: What is asked.
        system: What the result says of it.
        trained: How it was trained, where the model itself says so.
        may_change: Options on which no reply depends, so that a run may go on with others.
    """

    predictor: Predictor | RecordedReplies
    system: SystemInfo
    trained: Trained | None = None
    may_change: frozenset[str] = frozenset()

    @property
    def device(self) -> str:
        """What the model runs on, as it says; "cpu" where it does not."""
        said = str(getattr(self.predictor, "device", "cpu"))
        return said.encode("utf-8", "replace").decode()[:MAX_DEVICE_CHARS]
