"""Drawing data: the test cells of both suites, and the training streams with and without workers."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Iterable, Iterator

from lgbench.data.cells import checked_cell
from lgbench.data.stream import BLOCK_EXAMPLES, training_stream
from lgbench.data.suites import SUITES, load_suite
from lgbench.data.task import Example

WORKERS = 2


def cells() -> Iterator[str]:
    """The time to draw and hash-check every test cell, on one core."""
    for suite in SUITES:
        begun = time.perf_counter()
        total = sum(len(checked_cell(suite, cell)) for cell in suite.cells())
        yield f"{suite.name}: {total:,} test examples drawn and checked in {time.perf_counter() - begun:.2f} s"


def streams() -> Iterator[str]:
    """Training examples a second on one core, and with two workers; the examples must be the same."""
    suite = load_suite("standard-v1")
    for name, blocks in (("add-carry", 40), ("copy-mqar", 40), ("maze-trace", 6)):
        main = suite.group(name).mixture("direct").parts[0]
        alone, digest = _rate(training_stream(suite, name, "direct"), blocks)
        pooled, pooled_digest = _rate(training_stream(suite, name, "direct", workers=WORKERS), blocks)
        same = "the same" if digest == pooled_digest else "DIFFERENT"
        yield (
            f"training stream of {main.task} up to length {main.max_length}: {alone:,.0f} examples/s; "
            f"{WORKERS} workers {pooled:,.0f}/s ({pooled / alone:.2f} times), {same} examples"
        )


def _rate(stream: Iterator[Example], blocks: int) -> tuple[float, str]:
    """Examples a second after the first block (which also draws the held-out cells), and a digest of them."""
    _digest(itertools.islice(stream, BLOCK_EXAMPLES))
    begun = time.perf_counter()
    count = blocks * BLOCK_EXAMPLES
    drawn = list(itertools.islice(stream, count))
    seconds = time.perf_counter() - begun
    return count / seconds, _digest(drawn)


def _digest(examples: Iterable[Example]) -> str:
    text = "\n".join(f"{example.id} {example.prompt} {example.target}" for example in examples)
    return hashlib.sha256(text.encode()).hexdigest()
