"""How ternary weights change in training."""

from __future__ import annotations

from torch import Tensor

from lgbench.models.packing import trits_by_matrix
from lgbench.training.hooks import Hook
from lgbench.training.record import CurvePoint
from lgbench.training.trainer import Training


class TritCounts(Hook):
    """Records the shares of zero, changed and dead trits of each matrix at each point of the curve.

    `flips` is the share of trits that differ from those at the point before, and `dead` the share of outputs all of
    whose weights are zero.
    """

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}

    def start(self, training: Training) -> None:
        """Compare the first point with the initial weights."""
        if not self._before:
            self._before = trits_by_matrix(training.module)

    def point(self, training: Training, point: CurvePoint) -> None:
        """Record the shares."""
        now = trits_by_matrix(training.module)
        values = {}
        for name, trits in now.items():
            zero = trits == 0
            values[f"zeros/{name}"] = _share(zero)
            values[f"flips/{name}"] = _share(trits != self._before[name])
            values[f"dead/{name}"] = _share(zero.all(dim=1))
        training.measure(values)
        self._before = now

    def tensors(self) -> dict[str, Tensor]:
        """The trits at the last point."""
        return self._before

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take them back."""
        self._before = {name: each.clone() for name, each in tensors.items()}


def _share(which: Tensor) -> float:
    return round(float(which.float().mean()), 6)
