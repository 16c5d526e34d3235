"""A model, however it was found, together with what a result says of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lgbench.models.contract import Predictor
from lgbench.models.recorded import RecordedReplies
from lgbench.models.safe_call import own_batch_size, own_number
from lgbench.results.schema import MAX_PARAMETERS, SystemInfo
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import user_code

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


def with_parameters(predictor: Predictor, system: SystemInfo) -> Model:
    """A model whose description has the number of parameters, where the predictor gives it.

    Raises:
        LgbenchError: The number is impossible.
        ModelError: An attribute of the predictor raised.
    """
    parameters = own_number(predictor, "parameters")
    if parameters is None:
        return Model(predictor, system)
    if not 0 <= parameters <= MAX_PARAMETERS:
        raise LgbenchError(
            f"MODEL {system.model!r} says it has {parameters} parameters. It must be a count, or absent."
        )
    return Model(predictor, system.model_copy(update={"parameters": parameters}))
