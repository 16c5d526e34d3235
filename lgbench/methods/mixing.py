"""Hooks of methods that change the mixture."""

from __future__ import annotations

from collections.abc import Sequence

from lgbench.data.mixtures import Part
from lgbench.training.hooks import Hook
from lgbench.training.trainer import Training


class SetMixture(Hook):
    """Trains on another list from the first step on.

    Args:
        parts: The list.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts

    def start(self, training: Training) -> None:
        """Change it, before the first step only."""
        if training.step == 0:
            training.set_mixture(self._parts)
