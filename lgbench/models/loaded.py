"""A model, however it was found, together with what a result says of it."""

from __future__ import annotations

from dataclasses import dataclass

from lgbench.models.contract import Predictor
from lgbench.models.recorded import RecordedReplies
from lgbench.results import SystemInfo

DEFAULT_BATCH_SIZE = 64


@dataclass(frozen=True)
class Model:
    """A loaded model and its description."""

    predictor: Predictor | RecordedReplies
    system: SystemInfo

    @property
    def batch_size(self) -> int:
        """What `auto` means for this model: its own `batch_size`, or 64."""
        return int(getattr(self.predictor, "batch_size", DEFAULT_BATCH_SIZE))

    @property
    def device(self) -> str:
        """What the model runs on, as it says; "cpu" where it does not."""
        return str(getattr(self.predictor, "device", "cpu"))
