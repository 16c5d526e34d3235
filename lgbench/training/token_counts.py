"""How many tokens the published streams hold: what a run must have read, from its arm, steps and batch alone.

A stream is far too slow to draw whenever a record is checked, so the sums over its first examples are committed, at
every 2,000 of them, in `lgbench/training/tokens/`. `python tools/count_tokens.py` writes them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lgbench.data.mixtures import Parts
from lgbench.data.stream import BLOCK_EXAMPLES, TrainingData, list_key
from lgbench.data.suites import Suite
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.rows import Row, encode_row

EVERY = 2000
"""Examples between two sums of a table. The budgets of the presets are multiples."""
_DEVIATIONS = 6
_FEWEST_SUMS = 10


class Tokens(NamedTuple):
    """Tokens of some examples without padding, and those of them that the loss is taken on."""

    tokens: int
    target_tokens: int


class Span(NamedTuple):
    """The least and the most that a stream can hold, with equal ends where its tokens were counted."""

    least: Tokens
    most: Tokens


def stream_tokens(suite: Suite, parts: Parts, examples: int) -> Span | None:
    """How many tokens the first examples of a list's stream hold, without drawing any; None where it has no table.

    Exact at the sums of the table. Between two of them, and beyond the last, the tokens lie within six standard
    deviations of what the sums lead to expect.

    Args:
        suite: A published suite.
        parts: The list.
        examples: How many.
    """
    table = _table(suite.name).get(list_key(suite, parts))
    if table is None or len(table) <= _FEWEST_SUMS:
        return None
    sums = np.array(table, np.float64)
    steps = np.diff(sums, axis=0)
    last = min(examples // EVERY, len(steps))
    more = examples / EVERY - last
    if last < len(steps):
        expected = sums[last] + more * steps[last]
        variance = more * (1 - more)
    else:
        expected = sums[last] + more * steps.mean(axis=0)
        variance = more + more**2 / len(steps)  # of the examples themselves, and of the mean that was estimated
    reach = _DEVIATIONS * steps.std(axis=0, ddof=1) * math.sqrt(variance)
    least, most = np.floor(expected - reach), np.ceil(expected + reach)
    return Span(Tokens(*map(int, least)), Tokens(*map(int, most)))


def stream_rows_from(suite: Suite, parts: Parts, start: int) -> Iterator[Row]:
    """The endless rows of a list's stream, from example number `start` on, drawn as they are asked for."""
    vocabulary, data = suite_vocabulary(suite), TrainingData(suite, parts)
    block, skip = divmod(start, BLOCK_EXAMPLES)
    while True:
        for example in data.block(block)[skip:]:
            yield encode_row(vocabulary, example)
        block, skip = block + 1, 0


def table_path(suite: str) -> Path:
    """Where the sums of a suite's streams are committed."""
    return Path(__file__).parent / "tokens" / f"{suite}.json"


@cache
def _table(suite: str) -> dict[str, list[list[int]]]:
    """By list, the sums over its first 0, 2,000, 4,000, ... examples: tokens, and target tokens."""
    path = table_path(suite)
    return dict(json.loads(path.read_text("ascii"))) if path.exists() else {}
