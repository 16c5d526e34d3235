"""The permutation test against SciPy and a list of every assignment; Holm's correction against statsmodels."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import norm, permutation_test
from statsmodels.stats.multitest import multipletests

from lgbench.scoring.significance import _approximate_p, holm, holm_array, permutation_p

FEW = st.lists(st.integers(0, 8).map(lambda right: Fraction(right, 8)), min_size=1, max_size=6)
ANY = st.lists(st.integers(0, 1024).map(lambda right: Fraction(right, 1024)), min_size=2, max_size=5)


def listed_p(arm: Sequence[Fraction], baseline: Sequence[Fraction]) -> Fraction:
    """The definition: of all ways to choose the arm's seeds among all, those with a mean at least as high."""
    pooled = [*arm, *baseline]
    means = [statistics.mean(choice) for choice in combinations(pooled, len(arm))]
    return Fraction(sum(mean >= statistics.mean(arm) for mean in means), len(means))


@given(FEW, FEW)
def test_p_is_the_share_of_all_assignments(arm: list[Fraction], baseline: list[Fraction]) -> None:
    assert permutation_p(arm, baseline) == listed_p(arm, baseline)


def mean_difference(first: NDArray[np.float64], second: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    difference: NDArray[np.float64] = first.mean(axis=axis) - second.mean(axis=axis)
    return difference


@given(ANY, ANY)
def test_p_is_scipys(arm: list[Fraction], baseline: list[Fraction]) -> None:
    samples = [[float(share) for share in each] for each in (arm, baseline)]
    expected = permutation_test(
        samples, mean_difference, alternative="greater", vectorized=True, n_resamples=10**9
    ).pvalue
    assert float(permutation_p(arm, baseline)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("seeds", "least"), [(3, 20), (4, 70), (5, 252), (10, 184_756)])
def test_complete_separation_has_the_least_p_there_is(seeds: int, least: int) -> None:
    assert least == comb(2 * seeds, seeds)
    high = [Fraction(900 + number, 1024) for number in range(seeds)]
    low = [Fraction(7 * number, 1024) for number in range(seeds)]
    assert permutation_p(high, low) == Fraction(1, least)
    assert permutation_p(low, high) == 1


def test_equal_seeds_are_no_evidence() -> None:
    assert permutation_p([Fraction(1, 3)] * 5, [Fraction(1, 3)] * 5) == 1


def test_many_seeds_have_the_normal_approximation_of_the_same_distribution() -> None:
    generator = np.random.default_rng(5)
    arm, baseline = (generator.integers(low, low + 500, size=33).tolist() for low in (60, 0))
    exact = permutation_p(*([Fraction(right, 1024) for right in each] for each in (arm, baseline)))
    assert float(_approximate_p([*arm, *baseline], 33)) == pytest.approx(float(exact), rel=0.1)
    arm, baseline = (generator.normal(mean, 1, size=100) for mean in (0.2, 0))
    p = permutation_p([Fraction(x) for x in arm], [Fraction(x) for x in baseline])
    spread = np.concatenate([arm, baseline]).std(ddof=1) * np.sqrt(2 / 100)
    assert float(p) == pytest.approx(norm.sf((arm.mean() - baseline.mean()) / spread))
    assert permutation_p([Fraction(1)] * 100, [Fraction(1)] * 100) == 1


@settings(max_examples=30)  # statsmodels collects garbage in every call, which takes long in a large process
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holms_correction_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def test_holm_is_exact_on_fractions() -> None:
    assert holm([Fraction(1, 20), Fraction(1, 252), Fraction(1, 2)]) == [
        Fraction(1, 10),
        Fraction(3, 252),
        Fraction(1, 2),
    ]
    assert holm(list[Fraction]()) == []


@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.05, 1.0]), max_size=30))
def test_holm_of_an_array_is_holm_of_a_list_to_the_last_digit(p_values: list[float]) -> None:
    assert holm_array(np.array(p_values, np.float64)).tolist() == holm(p_values)
