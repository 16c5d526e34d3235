"""How well scores tell two kinds of examples apart, and how far confidence is from accuracy; with intervals.

AUROC, AUPR and FPR95 are scikit-learn's. An interval is the middle 95 % over resamples of the examples within their
cells (the percentile bootstrap): it is of this model, not of other seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
RESAMPLES = 200
BINS = 15
"""Of the expected calibration error: about equally many examples each."""


_Number = TypeVar("_Number", float, Values)


class Separation(NamedTuple, Generic[_Number]):
    """How well scores tell positives from the rest: numbers, or an array of each.

    Attributes:
        auroc: The chance that a positive has the higher score, ties as half.
        aupr: Average precision.
        fpr95: The share of negatives above the threshold that finds nearest to 95 % of the positives.
    """

    auroc: _Number
    aupr: _Number
    fpr95: _Number


def separation_of(scores: Values, positive: Flags) -> Separation[float]:
    """How well scores tell positives from the rest; both must be there."""
    from sklearn.metrics import auc, average_precision_score, roc_curve

    false, true, _ = roc_curve(positive, scores, drop_intermediate=False)
    nearest = int(np.abs(true - 0.95).argmin())
    return Separation(float(auc(false, true)), float(average_precision_score(positive, scores)), float(false[nearest]))


def area_under_risk(scores: Values, right: Flags) -> float:
    """AURC: the mean, over how many of the surest replies are kept, of the share of wrong ones among them."""
    risks = risk_by_coverage(scores, right)
    return float(risks.mean())


def risk_by_coverage(scores: Values, right: Flags) -> Values:
    """The share of wrong replies among the surest 1, 2, ... replies, shape (examples,)."""
    order = np.argsort(-scores, kind="stable")
    risks: Values = np.cumsum(~right[order]) / np.arange(1, len(order) + 1)
    return risks


class Bin(NamedTuple):
    """Examples of about the same confidence.

    Attributes:
        confidence: Their mean confidence.
        accuracy: The share that is right.
        examples: How many.
    """

    confidence: float
    accuracy: float
    examples: int


def reliability(confidence: Values, right: Flags, bins: int = BINS) -> list[Bin]:
    """Examples by confidence, in bins of about equally many; equal ones stay together."""
    edges = np.quantile(confidence, np.arange(1, bins) / bins)
    places = np.searchsorted(edges, confidence)
    parts = [np.flatnonzero(places == each) for each in np.unique(places)]
    return [Bin(float(confidence[part].mean()), float(right[part].mean()), len(part)) for part in parts]


class Calibration(NamedTuple):
    """How far confidence is from accuracy.

    Attributes:
        over_confidence: Mean confidence less accuracy.
        ece: Expected calibration error: the mean distance of the two over bins, weighted by their examples.
        brier: The mean squared distance of confidence and being right.
    """

    over_confidence: float
    ece: float
    brier: float


def calibration(confidence: Values, right: Flags) -> Calibration:
    """How far confidence is from accuracy."""
    bins = reliability(confidence, right)
    ece = sum(each.examples * abs(each.confidence - each.accuracy) for each in bins) / len(right)
    brier = ((confidence - right) ** 2).mean()
    return Calibration(float(confidence.mean() - right.mean()), float(ece), float(brier))


def resamples_of(cells: Sequence[int], count: int = RESAMPLES) -> Numbers:
    """Examples drawn anew within their cells, shape (count, examples): the numbers of the examples drawn.

    Args:
        cells: The examples of each cell, which lie one cell after the other.
        count: How often.
    """
    rng = np.random.default_rng(0)
    starts = np.cumsum([0, *cells[:-1]])
    parts = [start + rng.integers(0, size, (count, size)) for start, size in zip(starts, cells, strict=True)]
    return np.concatenate(parts, axis=1)


def middle(values: Values) -> tuple[float, float]:
    """The middle 95 % of values; what is not a number is left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def resampled_separation(scores: Values, positive: Flags, drawn: Numbers) -> Separation[Values]:
    """`separation` of each resample, all at once: scikit-learn takes milliseconds for one. Not a number without both.

    Args:
        scores: Shape (examples,).
        positive: Shape (examples,).
        drawn: Shape (resamples, examples).
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of equal scores
    often = np.stack([np.bincount(row, minlength=len(scores)) for row in drawn])[:, order]
    true, false = (np.cumsum(often * kind[order], axis=1)[:, ends] for kind in (positive, ~positive))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = true / (true + false)
        recall, wrongly = true / true[:, -1:], false / false[:, -1:]
    first = np.zeros((len(drawn), 1))
    before, wrongly_before = np.hstack([first, recall[:, :-1]]), np.hstack([first, wrongly[:, :-1]])
    nearest = np.abs(np.hstack([first, recall]) - 0.95).argmin(axis=1)
    return Separation(
        ((wrongly - wrongly_before) * (recall + before) / 2).sum(axis=1),
        ((recall - before) * np.where(recall > before, precision, 0)).sum(axis=1),
        np.take_along_axis(np.hstack([first, wrongly]), nearest[:, None], axis=1)[:, 0],
    )


def resampled_risk(scores: Values, right: Flags, drawn: Numbers) -> Values:
    """`area_under_risk` of each resample."""
    place = np.argsort(np.argsort(-scores, kind="stable"))
    by_score = ~right[np.argsort(-scores, kind="stable")]
    kept = by_score[np.sort(place[drawn], axis=1)]
    areas: Values = (np.cumsum(kept, axis=1) / np.arange(1, len(scores) + 1)).mean(axis=1)
    return areas
