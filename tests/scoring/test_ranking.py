"""Places of systems against each pair's own test, corrected by statsmodels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from lgbench.scoring.estimates import Estimate, Sample, mean_estimate
from lgbench.scoring.measures import Interval
from lgbench.scoring.ranking import Place, places, told_apart


def system(*groups: Sequence[float]) -> Estimate:
    """The score of a system with these accuracies of seeds in each group."""
    samples = [Sample(tuple(map(Fraction, seeds)), Interval(0, 1)) for seeds in groups]
    score = mean_estimate(Estimate({sample: Fraction(1)}) for sample in samples)
    assert score is not None
    return score


SHARES = st.integers(0, 16).map(lambda right: right / 16)
SYSTEMS = st.lists(
    st.lists(st.lists(SHARES, min_size=2, max_size=4), min_size=2, max_size=2), min_size=1, max_size=5
).map(lambda all_groups: [system(*groups) for groups in all_groups])


@settings(max_examples=30)  # statsmodels collects garbage in every call, which takes long in a large process
@given(SYSTEMS)
def test_two_systems_are_told_apart_by_their_own_test_corrected_over_pairs(scores: list[Estimate]) -> None:
    scores = sorted(scores, key=lambda score: -score.value)
    pairs = list(combinations(range(len(scores)), 2))
    p_values = {pair: (scores[pair[0]] - scores[pair[1]]).p_value for pair in pairs}
    known = [pair for pair in pairs if p_values[pair] is not None]
    corrected = multipletests([p_values[pair] for pair in known], method="holm")[1] if known else []
    assert all(abs(p - 0.05) > 1e-6 for p in corrected)
    apart = {pair for pair, p in zip(known, corrected, strict=True) if p <= 0.05}
    found = told_apart(scores)
    assert {tuple(pair) for pair in np.argwhere(np.triu(found)).tolist()} == apart
    assert (found == found.T).all()
    expected = [
        Place(
            1 + sum((above, own) in apart for above in range(own)),
            len(scores) - sum((own, below) in apart for below in range(own + 1, len(scores))),
        )
        for own in range(len(scores))
    ]
    assert places(scores) == expected
    assert all(place.first <= own + 1 <= place.last for own, place in enumerate(places(scores)))


def test_systems_far_apart_have_a_place_each_and_near_ones_share() -> None:
    top, middle, low = (system([share, share + 0.01, share + 0.02] * 2) for share in (0.9, 0.5, 0.1))
    assert list(map(str, places([top, middle, low]))) == ["1", "2", "3"]
    near = system([0.47, 0.53] * 3)
    assert list(map(str, places([top, middle, near, low]))) == ["1", "2-3", "2-3", "4"]


def test_ties_need_not_be_mutual() -> None:
    """The first and the last are told apart, the one between from neither."""
    scores = [system([share - 0.2, share, share + 0.2] * 2) for share in (0.75, 0.55, 0.35)]
    assert list(map(str, places(scores))) == ["1-2", "1-3", "2-3"]


def test_systems_of_unknown_spread_are_not_told_apart() -> None:
    assert places([system([1, 1, 1]), system([0, 0, 0])]) == [Place(1, 2), Place(1, 2)]
    assert places([system([1, 1, 1]), system([0, 0.01, 0])]) == [Place(1, 1), Place(2, 2)]


def test_equal_scores_share_their_place() -> None:
    assert places([system([0.2, 0.4, 0.6])] * 2) == [Place(1, 2)] * 2
    assert places([system([0.2, 0.4, 0.6])]) == [Place(1, 1)]
    assert places([]) == []
