"""Pearson's chi-square test of draws against exact probabilities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

import numpy as np
from scipy import stats

LEAST_P = 1e-4
"""The draws of the tests come from fixed streams, so a test always passes or always fails."""
_T = TypeVar("_T", bound=Hashable)


def p_value(drawn: Iterable[_T], probabilities: Mapping[_T, float]) -> float:
    """Of Pearson's chi-square test; 0 where something was drawn that is impossible."""
    counts = Counter(drawn)
    if not counts.keys() <= probabilities.keys():
        return 0.0
    expected = np.array(list(probabilities.values())) * counts.total()
    assert expected.min() >= 5, "too few draws for the test"
    return float(stats.chisquare([counts[outcome] for outcome in probabilities], expected).pvalue)


def uniform(outcomes: Iterable[_T]) -> dict[_T, float]:
    listed = list(outcomes)
    return dict.fromkeys(listed, 1 / len(listed))
