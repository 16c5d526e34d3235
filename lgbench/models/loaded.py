"""A model, however it was found, together with what a result says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lgbench.models.calling import own_batch_size, user_code
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
        may_change: Options that may be others when a run goes on than when it began.
        device: What the model runs on, as it says when it is loaded; "cpu" where it does not.

    Raises:
        ModelError: An attribute of the predictor that is read here raised.
    """

    predictor: Predictor | RecordedReplies
    system: SystemInfo
    trained: Trained | None = None
    may_change: frozenset[str] = frozenset()
    device: str = field(init=False)

    def __post_init__(self) -> None:
        # Read now, where all that it costs is to load the model again, and not when the replies are in.
        own_batch_size(self.predictor)
        with user_code("The model's device"):
            said = str(getattr(self.predictor, "device", "cpu"))
            device = said.encode("utf-8", "replace").decode()[:MAX_DEVICE_CHARS]
        object.__setattr__(self, "device", device)
