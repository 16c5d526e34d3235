"""Two runs on the same examples: the difference of their accuracies, with an interval over examples alone.

For models that are not trained under an arm, one run each: nothing but the examples is a sample. Both runs answer the
same ones, so what counts is where one is right and the other is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lgbench.data.suites import Cell
from lgbench.scoring.measures import Interval

Correct = Mapping[Cell, NDArray[np.bool_]]
"""For each cell, which replies are right, by index."""
_NORMAL = NormalDist()


class PairedDifference(NamedTuple):
    """The difference of two accuracies over the same examples.

    Attributes:
        value: The first's accuracy minus the second's: the mean over tasks of the mean over cells.
        variance: Its estimated variance over examples.
        apart: On how many examples one is right and the other is wrong.
    """

    value: Fraction
    variance: float
    apart: int

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval, cut to the possible range; None where the two are right on the same examples."""
        if not self.apart:
            return None
        reach, value = _NORMAL.inv_cdf(0.975) * math.sqrt(self.variance), float(self.value)
        return Interval(max(value - reach, -1.0), min(value + reach, 1.0))

    @property
    def p(self) -> float | None:
        """The two-sided p that it is 0, which fits the interval; None where there is none."""
        if not self.apart:
            return None
        return 2 * _NORMAL.cdf(-abs(float(self.value)) / math.sqrt(self.variance))


def paired_difference(first: Correct, second: Correct, tasks: Sequence[Sequence[Cell]]) -> PairedDifference:
    """Compare two runs on cells that both hold whole.

    The variance of a cell is Bonett and Price's (2012), which adds an example to each kind of disagreement: with few of
    these, the plain estimate is far too small.

    Args:
        first: One run.
        second: The other.
        tasks: The cells of each task, at least one.

    Examples:
        >>> cell = Cell("reverse", 10)
        >>> one, other = np.array([True] * 60 + [False] * 40), np.array([True] * 40 + [False] * 60)
        >>> difference = paired_difference({cell: one}, {cell: other}, [[cell]])
        >>> difference.value, difference.apart
        (Fraction(1, 5), 20)
        >>> low, high = difference.interval
        >>> f"{low:.3f} to {high:.3f}"
        '0.118 to 0.282'
    """
    value, variance, apart = Fraction(), 0.0, 0
    for cells in tasks:
        weight = Fraction(1, len(tasks) * len(cells))
        for cell in cells:
            total = len(first[cell])
            better = int(np.sum(first[cell] & ~second[cell]))
            worse = int(np.sum(second[cell] & ~first[cell]))
            value += weight * Fraction(better - worse, total)
            up, down = (better + 1) / (total + 2), (worse + 1) / (total + 2)
            variance += float(weight) ** 2 * (up + down - (up - down) ** 2) / (total + 2)
            apart += better + worse
    return PairedDifference(value, variance, apart)
