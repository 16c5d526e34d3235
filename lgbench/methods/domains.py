"""The arm's stream by domain: each domain keeps its examples and their order, but the shares of domains can change."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from lgbench.data.mixtures import Parts
from lgbench.data.stream import BLOCK_EXAMPLES, list_key, training_blocks
from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example, Stream
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.rows import Row, encode_row
from lgbench.util.errors import LgbenchError

Domains = Mapping[str, frozenset[Cell]]
"""Cells of (task, length) by the name of the domain that they are in."""


class CellRow(NamedTuple):
    """An example as tokens, and its cell."""

    cell: Cell
    row: Row


def cells_of(suite: Suite, parts: Parts) -> list[Cell]:
    """Every cell of a list of tasks, in the list's order, then by length."""
    return [
        Cell(part.task, length)
        for part in parts
        for length in range(suite.task(part.task).min_length, part.max_length + 1)
    ]


def by_task(suite: Suite, parts: Parts, buckets: int) -> Domains:
    """A domain for each task and each bucket of its lengths, with lengths spread evenly over the buckets.

    Raises:
        LgbenchError: A task has fewer lengths than there are buckets, so that a domain would have no example.
    """
    domains = {}
    for part in parts:
        lengths = range(suite.task(part.task).min_length, part.max_length + 1)
        if len(lengths) < buckets:
            raise LgbenchError(
                f"{part.task} is trained on {len(lengths)} lengths, which do not make {buckets} buckets: a domain "
                f"would have no example. Give --method-option buckets={len(lengths)} or less."
            )
        for own in np.array_split(np.array(lengths), buckets):
            first, last = int(own[0]), int(own[-1])
            name = part.task if buckets == 1 else f"{part.task} {first}-{last}"
            domains[name] = frozenset(Cell(part.task, length) for length in range(first, last + 1))
    return domains


def _cell_rows(suite: Suite, block: list[Example]) -> list[CellRow]:
    vocabulary = suite_vocabulary(suite)
    return [CellRow(Cell(each.task, each.length), encode_row(vocabulary, each)) for each in block]


def stream_of_cells(suite: Suite, parts: Parts, *, start: int, workers: int = 0) -> Iterator[CellRow]:
    """The endless examples of a list's stream, from number `start` on, each with its cell."""
    first, skip = divmod(start, BLOCK_EXAMPLES)
    blocks = training_blocks(suite, parts, partial(_cell_rows, suite), first=first, workers=workers)
    return islice(chain.from_iterable(blocks), skip, None)


class DomainQueues:
    """Each domain's examples of a stream, in the stream's order.

    Args:
        stream: The stream.
        domains: The domains, in which every cell of the stream occurs once.
        taken: Number of examples of each domain that were taken before and are skipped.
    """

    def __init__(self, stream: Iterator[CellRow], domains: Domains, taken: Sequence[int] = ()) -> None:
        self._stream = stream
        self._number = {cell: number for number, cells in enumerate(domains.values()) for cell in cells}
        self._queues: list[deque[Row]] = [deque() for _ in domains]
        self.taken = [0] * len(domains)
        for number, count in enumerate(taken):
            for _ in range(count):
                self.take(number)

    def take(self, number: int) -> Row:
        """The next example of a domain, by the domain's number."""
        queue = self._queues[number]
        while not queue:
            cell, row = next(self._stream)
            self._queues[self._number[cell]].append(row)
        self.taken[number] += 1
        return queue.popleft()


def picked(suite: Suite, parts: Parts, step: int, shares: Sequence[float], size: int) -> list[int]:
    """The domain of each example of a step, drawn by the domains' shares: their numbers."""
    words = Stream("lgbench", suite.name, "train", list_key(suite, parts), "domains", step).words(size)
    uniform = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    ends = np.cumsum(np.asarray(shares, dtype=np.float64))
    found = np.searchsorted(ends / ends[-1], uniform, side="right")
    return [min(int(each), len(shares) - 1) for each in found]
