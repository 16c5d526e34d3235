"""Null distributions over heads: the outcomes for sets of heads, or maps, with random heads.

Early and late layers have different functions, and removing early heads hurts more. So heads are exchanged within their
layer only: a random set has the same number of heads in each layer as the tested set.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product
from math import comb, prod
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""Which heads, shape (layers, heads)."""
Values = NDArray[np.float64]
_Number = TypeVar("_Number", bound=np.generic)
MOST_SETS = 300
PERMUTATIONS = 999


class MatchedSets(NamedTuple):
    """Sets with the same number of heads in each layer as a tested set.

    Attributes:
        masks: Shape (sets, layers, heads).
        complete: Whether these are all such sets, including the tested one; otherwise they are random.
    """

    masks: Mask
    complete: bool


def matched_sets(chosen: Mask, rng: np.random.Generator, most: int = MOST_SETS) -> MatchedSets:
    """All sets with the same number of heads in each layer as `chosen`, or `most` random ones if there are more."""
    layers, heads = chosen.shape
    counts = chosen.sum(axis=1).tolist()
    if prod(comb(heads, count) for count in counts) <= most:
        rows = [[_row(heads, picked) for picked in combinations(range(heads), count)] for count in counts]
        return MatchedSets(np.array(list(product(*rows)), dtype=np.bool_).reshape(-1, layers, heads), complete=True)
    masks = np.stack([permuted(chosen, rng) for _ in range(most)])
    return MatchedSets(masks, complete=False)


def _row(heads: int, picked: Iterable[int]) -> list[bool]:
    chosen = set(picked)
    return [head in chosen for head in range(heads)]


def permuted(values: NDArray[_Number], rng: np.random.Generator) -> NDArray[_Number]:
    """Values by layer and head with the heads of each layer in random order."""
    mixed: NDArray[_Number] = rng.permuted(values, axis=1)
    return mixed


def p_value(observed: float, null: Sequence[float] | Values, *, complete: bool) -> float:
    """The share of a null distribution that is at least as large as what was observed.

    If the null is random rather than complete, the observed value counts as part of it (Phipson and Smyth, 2010), so p
    is never 0 and never too small.
    """
    at_least = int((np.asarray(null) >= observed - 1e-12).sum())
    return at_least / len(null) if complete else (at_least + 1) / (len(null) + 1)


def rank_correlation(first: Values, second: Values) -> float:
    """Spearman's correlation of two maps over all heads; 0 where one of them is constant."""
    from scipy.stats import rankdata

    ranks = np.stack([rankdata(first), rankdata(second)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norms = np.sqrt((ranks**2).sum(axis=1))
    return float(ranks[0] @ ranks[1] / norms.prod()) if norms.all() else 0.0


class Correlation(NamedTuple):
    """A rank correlation of two maps, with its null distribution: heads exchanged within their layer."""

    rho: float
    p: float
    null: tuple[float, ...]


def correlation_test(
    first: Values, second: Values, rng: np.random.Generator, permutations: int = PERMUTATIONS
) -> Correlation:
    """Test whether the heads of a layer that matter in one map also matter in the other."""
    rho = rank_correlation(first, second)
    null = tuple(rank_correlation(first, permuted(second, rng)) for _ in range(permutations))
    return Correlation(rho, p_value(rho, null, complete=False), null)


def overlap_p(shared: int, size: int, heads: int) -> float:
    """The chance that two random sets of `size` heads share at least `shared` heads (hypergeometric)."""
    from scipy.stats import hypergeom

    return float(hypergeom.sf(shared - 1, heads, size, size))


def top_heads(importance: Values, size: int) -> Mask:
    """The `size` heads that matter most, shape (layers, heads)."""
    return by_rank(importance) < size


def by_rank(importance: Values) -> NDArray[np.int64]:
    """The place of each head in the order of importance, from 0 for the most important."""
    order = np.argsort(-importance.ravel(), kind="stable")
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order))
    return ranks.reshape(importance.shape)
