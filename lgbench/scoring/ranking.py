"""The order of systems: by score, with places that only a test tells apart. Definition: docs/protocol.md."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from lgbench.scoring.significance import holm_array

LEVEL = 0.05


class Spread(Protocol):
    """A score and how it varies over seeds, which decide a place. An `Estimate` is one."""

    @property
    def value(self) -> Fraction:
        """The score."""

    @property
    def variance(self) -> Fraction | float:
        """Its estimated variance over seeds."""

    @property
    def degrees(self) -> float:
        """Its degrees of freedom; infinite where no seed differs from another."""


class Place(NamedTuple):
    """The places that a system may have among those it is ranked with.

    Attributes:
        first: One more than the number of systems with a higher score that it is told apart from.
        last: The number of systems without those of a lower score that it is told apart from.
    """

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def places(scores: Sequence[Spread]) -> list[Place]:
    """The places of systems, from their scores in descending order.

    Two systems are told apart where the two-sided p of Welch and Satterthwaite's test of the difference of their scores
    is at most 0.05 after Holm's correction over all pairs; systems whose spread is unknown never are.
    """
    apart = told_apart(scores)
    above = np.tril(apart).sum(axis=1)
    below = np.triu(apart).sum(axis=1)
    return [Place(1 + int(up), len(scores) - int(down)) for up, down in zip(above, below, strict=True)]


def told_apart(scores: Sequence[Spread]) -> NDArray[np.bool_]:
    """Which systems, each of several seeds in every group, are told apart: symmetric, shape (systems, systems)."""
    from scipy.special import stdtr

    values = np.array([float(score.value) for score in scores])
    variances = np.array([float(score.variance) for score in scores])
    # Variance² / degrees of freedom: of independent systems it adds up, as the variance does.
    parts = np.array([float(score.variance) ** 2 / score.degrees for score in scores])
    one, other = np.triu_indices(len(scores), k=1)
    known = variances[one] + variances[other] > 0
    one, other = one[known], other[known]
    variance = variances[one] + variances[other]
    degrees = variance**2 / (parts[one] + parts[other])
    t = np.abs(values[one] - values[other]) / np.sqrt(variance)
    apart = np.zeros((len(scores), len(scores)), np.bool_)
    apart[one, other] = holm_array(2 * stdtr(degrees, -t)) <= LEVEL
    symmetric: NDArray[np.bool_] = apart | apart.T
    return symmetric
