"""Runs that are nearly copies of each other: of the replies that are wrong in both, nearly all are equal.

Two models that fail on the same example fail in their own ways. Of the committed systems, no two runs share more than
79 % of such replies (docs/submitting.md), so that a copy is seen even where many of its replies were changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Cell, load_suite
from lgbench.data.task import Stream
from lgbench.results.schema import Result

MOST_EQUAL = 0.95
"""The share of equal replies among those that are wrong in both runs, over which one is a copy of the other."""
ENOUGH_COMMON = 50
"""Replies that are wrong in both. With fewer, the runs must also fail on the same examples."""
FEWEST_COMMON = 20
ENOUGH_TEXTS = 20
"""Different texts among the equal replies. Two models may both say "0" to everything that they cannot do."""
_SAME_EXAMPLES = 0.9  # of the examples that are wrong in one of the runs, those that are wrong in both and equal
_COMPARED = 8192  # examples of a run at most, which bounds the memory of a thousand systems
_PROBES = 32  # wrong replies of each run that are compared with every other run, before all are with a few
_LIKELY = 0.8  # the share of equal ones among them from which on all are compared


class WrongReplies(NamedTuple):
    """What is compared of a run: the wrong replies to the main task of its group, or under `open` to all main tasks.

    Attributes:
        of: The suite and tasks. Only runs of the same ones are compared.
        texts: By example, the hash of a wrong reply; 0 for others. Shape (examples compared,).
    """

    of: tuple[str, ...]
    texts: NDArray[np.uint32]


class Likeness(NamedTuple):
    """How alike two runs are: replies that are wrong in both, and the equal ones among them."""

    common: int
    equal: int


def wrong_replies(result: Result, wrong: Mapping[Cell, NDArray[np.uint64]]) -> WrongReplies:
    """What is compared of a complete run.

    Args:
        result: The result.
        wrong: For each cell, the hashes of its wrong replies, as `lgbench.evaluation.rescoring` gives them.
    """
    suite = load_suite(result.suite, result.draft)
    tasks = suite.main_tasks if result.group is None else (suite.group(result.group).main,)
    none = np.zeros(suite.examples_per_cell, np.uint64)
    cells = [Cell(task, length) for task in tasks for length in suite.grid(task)]
    texts = np.concatenate([wrong.get(cell, none) for cell in cells])
    halves = (texts % (2**32 - 1) + (texts != 0)).astype(np.uint32)  # 0 stays 0, and nothing else becomes it
    kind = OPEN_ARM if result.group is None else "trained"  # one model may be asked in both ways, as two systems
    return WrongReplies((result.suite, kind, *tasks), halves[_sample(len(halves))])


@cache
def _sample(examples: int) -> NDArray[np.int64]:
    """The places of the examples that are compared, ascending: all, or 8,192 of them."""
    return np.sort(Stream("lgbench", "likeness", examples).permutation(examples)[:_COMPARED])


def near_copies(
    runs: Sequence[WrongReplies], owners: Sequence[str], may_be_alike: Callable[[int, int], bool]
) -> Iterator[tuple[int, int, Likeness]]:
    """The runs that are nearly copies, each with the number of the other and how alike they are.

    The other is an earlier run of the same system, or any of another one; of several the first is given. Every run is
    compared with every other in 32 replies, and only with those that are like it in all of them.

    Args:
        runs: What is compared of each.
        owners: The system of each.
        may_be_alike: Whether two runs, by their numbers, may be alike and are passed over.
    """
    numbers: dict[tuple[str, ...], list[int]] = {}
    for number, run in enumerate(runs):
        if np.count_nonzero(run.texts) >= FEWEST_COMMON:
            numbers.setdefault(run.of, []).append(number)
    for own in numbers.values():
        table = np.stack([runs[number].texts for number in own])
        for row, candidates in _likely(table):
            found: set[bool] = set()  # in its own system, in another
            for other in candidates:
                here, there = own[row], own[other]
                is_own = owners[here] == owners[there]
                if is_own in found or (is_own and there > here) or may_be_alike(here, there):
                    continue
                if (likeness := compare(table[row], table[other])) is not None:
                    found.add(is_own)
                    yield here, there, likeness


def _likely(table: NDArray[np.uint32]) -> Iterator[tuple[int, list[int]]]:
    """Those rows of (runs, examples) that look like others in a few places, each with the others, ascending.

    The places depend on all of the table, so that nobody can change a copy in just these.
    """
    key = hashlib.blake2b(table.data, digest_size=16).hexdigest()
    pairs = []
    for row, texts in enumerate(table):
        wrong = np.flatnonzero(texts)
        places = wrong[Stream("lgbench", "likeness", key, row).permutation(len(wrong))[:_PROBES]]
        given = table[:, places]
        common = np.count_nonzero(given, axis=1)
        equal = np.count_nonzero(given == texts[places], axis=1)
        others = np.flatnonzero((common > 0) & (equal >= _LIKELY * common))
        others = others[others != row]
        # Both ways: one may have few wrong replies, among the many of the other.
        pairs += [row * len(table) + others, others * len(table) + row]
    rows, others = np.divmod(np.unique(np.concatenate(pairs)), len(table))
    for row in np.unique(rows).tolist():
        yield row, others[np.searchsorted(rows, row) : np.searchsorted(rows, row, "right")].tolist()


def compare(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> Likeness | None:
    """How alike two runs are, if one is nearly a copy of the other; shapes (examples compared,)."""
    both = (one != 0) & (other != 0)
    equal = both & (one == other)
    likeness = Likeness(int(both.sum()), int(equal.sum()))
    if likeness.common < FEWEST_COMMON or likeness.equal <= MOST_EQUAL * likeness.common:
        return None
    either = int(((one != 0) | (other != 0)).sum())
    if likeness.common < ENOUGH_COMMON and likeness.equal < _SAME_EXAMPLES * either:
        return None
    return likeness if len(np.unique(one[equal])) >= ENOUGH_TEXTS else None
