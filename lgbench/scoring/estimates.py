"""Means over seeds, their differences and means, each with its interval. Definitions: docs/protocol.md, Intervals.

A seed is one observation. Every figure of a system is a weighted sum of arms' means, so one formula serves them all:
Welch and Satterthwaite's, which of one mean is the t interval and of two is `scipy.stats.ttest_ind(equal_var=False)`.
The quantiles come from `scipy.special`, imported when one is needed: `scipy.stats` takes several times as long to
import. Tests hold every number here to `scipy.stats` and statsmodels.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from statistics import mean, variance

from lgbench.scoring.measures import Interval


@dataclass(frozen=True, eq=False)
class Sample:
    """The accuracies of independent seeds under one arm. A run that serves two groups is in one sample of both.

    Attributes:
        accuracies: One for each seed, at least one, from 0 to 1.
        over_examples: The 95 % interval over examples alone of the first seed. It counts where that is the only one.
    """

    accuracies: tuple[Fraction, ...]
    over_examples: Interval

    @cached_property
    def mean(self) -> Fraction:
        """The mean over seeds, exact."""
        return mean(self.accuracies)

    @cached_property
    def variance(self) -> Fraction:
        """The estimated variance of the mean, exact: 0 only where all seeds are equal, or there is one."""
        return variance(self.accuracies) / self.seeds if self.seeds > 1 else Fraction()

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len(self.accuracies)

    @cached_property
    def margins(self) -> Interval:
        """How far the mean's own interval reaches down and up: the t interval, or of one seed that over examples."""
        if self.seeds == 1:
            return Interval(float(self.mean) - self.over_examples.low, self.over_examples.high - float(self.mean))
        reach = t_quantile(self.seeds - 1) * math.sqrt(self.variance)
        return Interval(reach, reach)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A weighted sum of arms' means: an accuracy, a gain, a mean over groups, a difference of two systems.

    Attributes:
        weights: The weight of each sample; none is 0.
        count: Over how many groups, domains or tasks it is the mean.
    """

    weights: Mapping[Sample, Fraction]
    count: int = 1

    @cached_property
    def value(self) -> Fraction:
        """The sum, exact."""
        return sum((weight * sample.mean for sample, weight in self.weights.items()), Fraction())

    @property
    def one_seed(self) -> bool:
        """Whether some arm in it has one seed, so that the interval lacks how that arm's seeds vary."""
        return any(sample.seeds == 1 for sample in self.weights)

    @property
    def fewest_seeds(self) -> int:
        """The seeds of the arm that has the fewest."""
        return min((sample.seeds for sample in self.weights), default=0)

    @cached_property
    def variance(self) -> Fraction:
        """The estimated variance over seeds; arms with one seed add nothing."""
        return sum((weight**2 * sample.variance for sample, weight in self.weights.items()), Fraction())

    @cached_property
    def degrees(self) -> float:
        """Welch and Satterthwaite's degrees of freedom; infinite where no seed differs from another."""
        parts = ((weight**4 * sample.variance**2, sample.seeds - 1) for sample, weight in self.weights.items())
        spread = sum((square / degrees for square, degrees in parts if square), Fraction())
        return float(self.variance**2 / spread) if spread else math.inf

    @cached_property
    def interval(self) -> Interval | None:
        """The 95 % interval, cut to the possible range.

        None where every arm has several seeds and no seed differs from another of its arm: then the spread is unknown,
        not 0. With an arm of one seed the arms' own intervals are combined (the method of variance estimates recovery
        of Zou and Donner, 2008): of one arm its Wilson interval, of two Newcombe's (1998, method 10).
        """
        if self.one_seed:
            down, up = self._recovered_margins()
        elif self.variance:
            down = up = t_quantile(self.degrees) * math.sqrt(self.variance)
        else:
            return None
        least = sum(weight for weight in self.weights.values() if weight < 0)
        most = sum(weight for weight in self.weights.values() if weight > 0)
        value = float(self.value)
        return Interval(max(value - down, float(least)), min(value + up, float(most)))

    def _recovered_margins(self) -> Interval:
        down, up = 0.0, 0.0
        for sample, weight in self.weights.items():
            low, high = sample.margins if weight > 0 else sample.margins[::-1]
            down += (float(weight) * low) ** 2
            up += (float(weight) * high) ** 2
        return Interval(math.sqrt(down), math.sqrt(up))

    @property
    def p_value(self) -> float | None:
        """The two-sided p that the sum is 0, by Welch and Satterthwaite's t; None where the spread is unknown."""
        if self.one_seed or not self.variance:
            return None
        return two_sided_p(float(self.value) / math.sqrt(self.variance), self.degrees)

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference. What both have in common cancels."""
        return Estimate(_sum([(self, Fraction(1)), (other, Fraction(-1))]), self.count)


def mean_estimate(estimates: Iterable[Estimate | None]) -> Estimate | None:
    """The unweighted mean of those that are not None; None where all are."""
    known = [estimate for estimate in estimates if estimate is not None]
    if not known:
        return None
    return Estimate(_sum([(each, Fraction(1, len(known))) for each in known]), count=len(known))


def _sum(terms: Iterable[tuple[Estimate, Fraction]]) -> dict[Sample, Fraction]:
    weights: dict[Sample, Fraction] = defaultdict(Fraction)
    for estimate, factor in terms:
        for sample, weight in estimate.weights.items():
            weights[sample] += factor * weight
    return {sample: weight for sample, weight in weights.items() if weight}


def t_quantile(degrees: float) -> float:
    """The 97.5th percentile of Student's t, which bounds a two-sided interval of 95 %."""
    from scipy.special import ndtri, stdtrit

    return float(ndtri(0.975) if math.isinf(degrees) else stdtrit(degrees, 0.975))


def two_sided_p(t: float, degrees: float) -> float:
    """The probability of a Student's t at least as far from 0, to either side."""
    from scipy.special import stdtr

    return float(2 * stdtr(degrees, -abs(t)))


def share_interval(passed: int, total: int) -> Interval:
    """The exact 95 % interval of a share (Clopper and Pearson, 1934).

    Args:
        passed: Successes.
        total: Trials, at least 1.

    Examples:
        >>> low, high = share_interval(0, 3)
        >>> f"{low:.3f} to {high:.3f}"
        '0.000 to 0.708'
    """
    from scipy.special import betaincinv

    low = float(betaincinv(passed, total - passed + 1, 0.025)) if passed else 0.0
    high = float(betaincinv(passed + 1, total - passed, 0.975)) if passed < total else 1.0
    return Interval(low, high)
