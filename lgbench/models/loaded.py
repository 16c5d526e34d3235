"""A model, however it was found, together with what a result says of it."""

from __future__ import annotations

from dataclasses import dataclass

from lgbench.models.contract import Predictor
from lgbench.models.recorded import RecordedReplies
from lgbench.results import SystemInfo

MAX_DEVICE_CHARS = 200


@dataclass(frozen=True)
class Model:
    """A loaded model and its description."""

    predictor: Predictor | RecordedReplies
    system: SystemInfo

    @property
    def device(self) -> str:
        """What the model runs on, as it says; "cpu" where it does not."""
        said = str(getattr(self.predictor, "device", "cpu"))
        return said.encode("utf-8", "replace").decode()[:MAX_DEVICE_CHARS]
