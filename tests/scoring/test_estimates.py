"""Intervals of arms, gains and means over groups against SciPy, statsmodels, published figures and a slow route."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep

from lgbench.scoring.estimates import Estimate, Sample, mean_estimate, share_interval
from lgbench.scoring.measures import Interval, wilson_interval

SHARES = st.integers(0, 1024).map(lambda right: Fraction(right, 1024))
SEVERAL = st.lists(SHARES, min_size=2, max_size=10)


def arm(accuracies: Sequence[Fraction | float]) -> Estimate:
    """An arm of seeds with 1024 examples each."""
    exact = tuple(Fraction(accuracy) for accuracy in accuracies)
    return Estimate({Sample(exact, wilson_interval(round(1024 * exact[0]), 1024)): Fraction(1)})


def cut(interval: Any, least: float, most: float) -> Interval:
    """A pair, such as SciPy's interval, whose types say it may be arrays."""
    low, high = map(float, interval)
    return Interval(max(low, least), min(high, most))


@given(SEVERAL)
def test_an_arm_has_scipys_t_interval(accuracies: list[Fraction]) -> None:
    assume(len(set(accuracies)) > 1)
    found = arm(accuracies)
    expected = stats.ttest_1samp([float(share) for share in accuracies], 0.0)
    assert found.value == statistics.mean(accuracies)
    assert found.interval == pytest.approx(cut(expected.confidence_interval(0.95), 0, 1), abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


@given(SEVERAL, SEVERAL)
def test_a_gain_has_welchs_interval_and_p_as_scipy_gives_them(first: list[Fraction], second: list[Fraction]) -> None:
    assume(len(set(first)) > 1)
    assume(len(set(second)) > 1)
    found = arm(first) - arm(second)
    expected = stats.ttest_ind([float(x) for x in first], [float(x) for x in second], equal_var=False)
    assert found.interval == pytest.approx(cut(expected.confidence_interval(0.95), -1, 1), abs=1e-9)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    assert found.degrees == pytest.approx(expected.df)


@given(SEVERAL, SHARES)
def test_over_an_arm_whose_seeds_are_equal_a_gain_has_the_other_arms_spread(
    accuracies: list[Fraction], share: Fraction
) -> None:
    assume(len(set(accuracies)) > 1)
    found = arm(accuracies) - arm([share] * 4)
    expected = stats.ttest_1samp([float(each - share) for each in accuracies], 0.0).confidence_interval(0.95)
    assert found.interval == pytest.approx(cut(expected, -1, 1), abs=1e-9)


@pytest.mark.parametrize("share", [0, 1, Fraction(1, 3)])
def test_where_all_seeds_are_equal_no_interval_is_claimed(share: Fraction) -> None:
    equal = arm([share] * 3)
    for estimate in (equal, equal - arm([Fraction(1, 7)] * 5), mean_estimate([equal, arm([0, 0])])):
        assert estimate is not None
        assert estimate.interval is None
        assert estimate.p_value is None
        assert not estimate.one_seed
    assert (equal - equal).value == 0


def test_equal_seeds_in_one_group_leave_the_spread_of_the_others() -> None:
    varied = arm([0.25, 0.5, 1])
    both = mean_estimate([varied, arm([0, 0, 0])])
    assert both is not None
    assert varied.interval is not None
    assert both.value == varied.value / 2
    expected = stats.ttest_1samp([0.125, 0.25, 0.5], 0.0).confidence_interval(0.95)
    assert both.interval == pytest.approx(cut(expected, 0, 1))


@given(st.lists(SEVERAL, min_size=2, max_size=7))
def test_a_mean_over_groups_follows_satterthwaite_word_by_word(groups: list[list[Fraction]]) -> None:
    """Satterthwaite (1946): (sum of v)² / sum of v² / degrees, where v are the estimated variances that add up."""
    parts = [statistics.variance(map(float, each)) / len(each) / len(groups) ** 2 for each in groups]
    assume(sum(parts) > 0)
    degrees = sum(parts) ** 2 / sum(v**2 / (len(each) - 1) for v, each in zip(parts, groups, strict=True))
    reach = stats.t.ppf(0.975, degrees) * math.sqrt(sum(parts))
    centre = statistics.mean(statistics.mean(map(float, each)) for each in groups)
    found = mean_estimate(map(arm, groups))
    assert found is not None
    assert found.count == len(groups)
    assert found.interval == pytest.approx(cut((centre - reach, centre + reach), 0, 1), abs=1e-9)


def test_runs_that_serve_two_groups_are_one_sample_of_both() -> None:
    """The gains of both rest on the same baseline, so the variance of their mean has it once, in full."""
    baseline, one, other = arm([0, 0.125, 0.5]), arm([0.5, 0.75, 1]), arm([0.25, 0.75, 0.875])
    found = mean_estimate([one - baseline, other - baseline])
    assert found is not None
    variances = [statistics.variance(map(float, each)) / 3 for each in ([0.5, 0.75, 1], [0.25, 0.75, 0.875])]
    shared = statistics.variance([0, 0.125, 0.5]) / 3
    assert float(found.variance) == pytest.approx(sum(variances) / 4 + shared)
    apart = mean_estimate([one - baseline, other - arm([0, 0.125, 0.5])])
    assert apart is not None
    assert float(apart.variance) == pytest.approx(sum(variances) / 4 + shared / 2)
    assert found.value == apart.value


def test_a_mean_skips_what_is_missing_and_says_over_how_many_it_is() -> None:
    mean = mean_estimate([None, arm([0, 1]), None, arm([1, 1])])
    assert mean is not None
    assert (mean.value, mean.count) == (Fraction(3, 4), 2)
    assert mean_estimate([None]) is None
    assert mean_estimate([]) is None


@given(st.integers(0, 1024), st.integers(0, 1024))
def test_one_seed_has_wilsons_interval_and_two_have_newcombes(first: int, second: int) -> None:
    one, other = arm([Fraction(first, 1024)]), arm([Fraction(second, 1024)])
    assert one.one_seed
    assert one.interval == pytest.approx(wilson_interval(first, 1024), abs=1e-12)
    expected = confint_proportions_2indep(first, 1024, second, 1024, method="newcomb")
    assert (one - other).interval == pytest.approx(expected, abs=1e-9)
    assert (one - other).p_value is None


def test_newcombes_own_example() -> None:
    """56 of 70 against 48 of 80: 0.0524 to 0.3339 by method 10 (Statistics in Medicine 17, 1998, table II)."""
    samples = [
        Sample((Fraction(right, total),), wilson_interval(right, total)) for right, total in ((56, 70), (48, 80))
    ]
    interval = Estimate({samples[0]: Fraction(1), samples[1]: Fraction(-1)}).interval
    assert interval == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_an_arm_of_one_seed_beside_one_of_several_marks_the_gain() -> None:
    several, one = arm([0.25, 0.5, 0.75]), arm([0.5])
    gain = several - one
    assert gain.one_seed
    assert gain.fewest_seeds == 1
    own, examples = stats.ttest_1samp([0.25, 0.5, 0.75], 0).confidence_interval(), wilson_interval(512, 1024)
    reach = math.hypot(own.high - 0.5, 0.5 - examples.low)
    assert gain.interval == pytest.approx((-reach, reach))


@given(st.integers(1, 30).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_share_of_seeds_that_pass_has_scipys_exact_interval(sample: tuple[int, int]) -> None:
    expected = stats.binomtest(*sample).proportion_ci(method="exact")
    assert share_interval(*sample) == pytest.approx((expected.low, expected.high), abs=1e-12)
