"""Tests that need no distribution: an exact permutation test over seeds, and Holm's correction for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from statistics import NormalDist
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_MOST_ASSIGNMENTS = 2**63 - 1


def permutation_p(arm: Sequence[Fraction], baseline: Sequence[Fraction]) -> Fraction:
    """The one-sided p that an arm's mean is no higher than its baseline's, exact.

    It is the share of all ways to call so many of the seeds the arm's in which the arm's mean is at least the observed
    one: `scipy.stats.permutation_test(..., alternative="greater")` over all assignments. They are counted by the shift
    algorithm of Streitberg and Röhmel (1986), since SciPy lists them, in seconds for 10 seeds against 10. With more
    than 2**63 assignments (from 34 seeds in both) it is the normal approximation of the same distribution.

    Args:
        arm: The accuracies of its seeds, at least one.
        baseline: Likewise.

    Examples:
        >>> permutation_p([Fraction(1, 2), Fraction(3, 4), Fraction(1)], [Fraction(0), Fraction(0), Fraction(0)])
        Fraction(1, 20)
    """
    # Integers without common offset and divisor, so that sums are exact and the table of them short.
    scale = math.lcm(*(each.denominator for each in (*arm, *baseline)))
    scores = [int(each * scale) for each in (*arm, *baseline)]
    least = min(scores)
    divisor = math.gcd(*(score - least for score in scores)) or 1
    scores = [(score - least) // divisor for score in scores]
    # Neither the order of seeds nor a change of all by as much changes anything: few tests are new.
    return _permutation_p(tuple(sorted(scores[: len(arm)])), tuple(sorted(scores[len(arm) :])))


@lru_cache(maxsize=10_000)
def _permutation_p(arm: tuple[int, ...], baseline: tuple[int, ...]) -> Fraction:
    scores = [*arm, *baseline]
    assignments = math.comb(len(scores), len(arm))
    if assignments > _MOST_ASSIGNMENTS:
        return _approximate_p(scores, len(arm))
    # Of the smaller side: a high sum of the arm is a low one of its baseline.
    if len(arm) <= len(baseline):
        sums = _counts_of_sums(scores, len(arm))
        extreme = sums[sum(arm) :]
    else:
        sums = _counts_of_sums(scores, len(baseline))
        extreme = sums[: sum(baseline) + 1]
    return Fraction(int(extreme.sum()), assignments)


def _counts_of_sums(scores: Sequence[int], size: int) -> NDArray[np.int64]:
    """How many choices of `size` of the scores have each sum: shape (greatest sum + 1,)."""
    greatest = sum(sorted(scores)[-size:])
    ways = np.zeros((size + 1, greatest + 1), np.int64)
    ways[0, 0] = 1
    for score in scores:
        ways[1:, score:] += ways[:-1, : greatest + 1 - score]
    chosen: NDArray[np.int64] = ways[size]
    return chosen


def _approximate_p(scores: Sequence[int], size: int) -> Fraction:
    count, centre = len(scores), Fraction(sum(scores), len(scores))
    spread = sum((score - centre) ** 2 for score in scores) / (count - 1)
    deviation = math.sqrt(spread * size * (count - size) / count)
    if not deviation:
        return Fraction(1)
    return Fraction(1 - NormalDist().cdf(float(sum(scores[:size]) - size * centre) / deviation))


_P = TypeVar("_P", float, Fraction)


def holm(p_values: Sequence[_P]) -> list[_P]:
    """The p-values of several tests corrected after Holm (1979), in the order given.

    A few lines instead of statsmodels, which would be needed for nothing else; a test holds them to its
    `multipletests(method="holm")`.

    Examples:
        >>> holm([0.25, 0.01, 0.03])
        [0.25, 0.03, 0.06]
    """
    adjusted = list(p_values)
    highest = None
    for place, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        p = p_values[index] * (len(p_values) - place)
        highest = p if highest is None else max(highest, p)
        adjusted[index] = min(highest, p * 0 + 1)
    return adjusted


def holm_array(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """As `holm`, to the last digit, of so many tests that a loop would take long: shape (tests,)."""
    ascending = np.argsort(p_values, kind="stable")
    scaled = p_values[ascending] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(scaled), 1)
    return adjusted
