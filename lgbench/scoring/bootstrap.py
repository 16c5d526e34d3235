"""Resampled accuracies, for intervals over seeds and examples. Definition: docs/protocol.md.

The resamples come from fixed streams: the same runs give the same interval everywhere and always, and two systems are
compared on the same draws.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lgbench.data.suites import Cell
from lgbench.data.task import Stream
from lgbench.results.schema import Result
from lgbench.scoring.measures import Interval
from lgbench.util.errors import LgbenchError

RESAMPLES = 10_000
# Bounds the memory of one step to a few megabytes.
_CHUNK = 250


class Run(Protocol):
    """A result with what it got right, as `lgbench.evaluation.rescoring.rescore` gives it."""

    @property
    def result(self) -> Result:
        """The result."""

    @property
    def correct(self) -> Mapping[Cell, NDArray[np.bool_]]:
        """For each cell, which replies are right: shape (examples,), by index."""


def resampled_accuracy(
    runs: Sequence[Run], cells: Sequence[Cell], *, key: str, resamples: int = RESAMPLES
) -> NDArray[np.float64]:
    """The mean over seeds of the mean over cells of the accuracy, in every resample: shape (resamples,).

    A resample draws as many runs as there are, with replacement, then the examples of each cell, with replacement and
    the same for every run. The draw of a cell depends on the suite and the cell alone, so any two arms, groups or
    systems that are resampled here are paired.

    Args:
        runs: The seeds of one arm, at least one, all of one suite, each with every example of `cells`.
        cells: At least one.
        key: Names the stream that draws seeds: one for each experiment.
        resamples: How many.
    """
    suite = runs[0].result.suite
    right = np.zeros((resamples, len(runs)), np.int64)
    for cell in cells:
        right += _resampled_counts(suite, cell, np.stack([run.correct[cell] for run in runs], axis=1), resamples)
    seeds = Stream("lgbench", suite, "bootstrap", "seeds", key).below(len(runs), resamples * len(runs))
    drawn = np.take_along_axis(right, seeds.reshape(resamples, len(runs)), axis=1)
    examples = sum(len(runs[0].correct[cell]) for cell in cells)
    accuracy: NDArray[np.float64] = drawn.sum(axis=1) / (len(runs) * examples)
    return accuracy


def percentile_interval(statistic: NDArray[np.float64]) -> Interval:
    """The interval from the 2.5th to the 97.5th percentile of a resampled statistic, shape (resamples,)."""
    low, high = np.quantile(statistic, (0.025, 0.975))
    return Interval(float(low), float(high))


def _resampled_counts(suite: str, cell: Cell, correct: NDArray[np.bool_], resamples: int) -> NDArray[np.int64]:
    """Right replies in every resample of a cell: `correct` is (examples, runs), the counts are (resamples, runs)."""
    times = _times_drawn(suite, cell, len(correct), resamples)
    # Counts stay far below 2**24, so that float32, which is multiplied fast, holds them exactly.
    even, odd = correct[0::2].astype(np.float32), correct[1::2].astype(np.float32)
    products = []
    for rows in _chunks(resamples):
        of_even, of_odd = times[rows] & 15, times[rows, : len(odd)] >> 4
        products.append(of_even.astype(np.float32) @ even + of_odd.astype(np.float32) @ odd)
    return np.concatenate(products).astype(np.int64)


# Groups and systems share cells. A board comes to them in the same order for each system, so that with too few places
# it would draw every cell anew each time, in up to 0.2 s. There are no more than the suites score: 25 of 5.1 MB in
# standard-v1 and 18 of 1.3 MB in mini-v1.
@cache
def _times_drawn(suite: str, cell: Cell, examples: int, resamples: int) -> NDArray[np.uint8]:
    """How often each example of a cell is drawn, two of them in a byte: shape (resamples, half the examples).

    The four low bits are of the even example, the four high bits of the odd one after it. Unpacked, each row sums to
    `examples`. No example is drawn 16 times: in a cell of 1024 the odds of that are 2 in 10**7, and the streams are
    fixed.
    """
    stream = Stream("lgbench", suite, "bootstrap", "examples", cell.task, cell.length)
    times = np.empty((resamples, (examples + 1) // 2), np.uint8)
    for rows in _chunks(resamples):
        count = rows.stop - rows.start
        drawn = stream.below(examples, count * examples).reshape(count, examples)
        places = drawn + examples * np.arange(count)[:, np.newaxis]
        counts = np.bincount(places.ravel(), minlength=count * examples).reshape(count, examples).astype(np.uint8)
        if counts.max() > 15:
            raise LgbenchError(f"An example of {cell} is drawn {counts.max()} times in a resample: report this.")
        times[rows] = counts[:, 0::2]
        times[rows, : examples // 2] |= counts[:, 1::2] << 4
    return times


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, min(start + _CHUNK, count)) for start in range(0, count, _CHUNK))
