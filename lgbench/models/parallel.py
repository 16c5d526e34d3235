"""A batch cut into parts that several cores work on side by side.

The operations of a small model are short. Cores that share each of them spend much of their time waiting for one
another, and far more where other programs use the cores too. Cores that have rows of their own meet once a batch.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

Row = TypeVar("Row")
Done = TypeVar("Done")

MOST_PARTS = 4  # more would wait for Python's interpreter lock
LEAST_ROWS = 32  # in a part that goes through the model together: fewer make poor use of a core


def in_parts(
    rows: Sequence[Row],
    workers: Sequence[Callable[[Sequence[Row], threading.Event], list[Done]]],
    *,
    threads: int,
    least: int = LEAST_ROWS,
) -> list[Done]:
    """What the workers make of the rows, in the order of the rows, each worker in a thread of its own.

    Args:
        rows: The rows of a batch.
        workers: Each turns some rows into as many results, and soon returns anything when the event is set: another
            worker has failed, or Ctrl-C was pressed. They share no state that changes.
        threads: The cores to use, all workers together.
        least: The fewest rows worth a part.
    """
    size = max(least, -(-len(rows) // len(workers)))
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    give_up = threading.Event()
    with limited_threads(max(1, threads // len(workers))):
        if len(parts) < 2:
            return workers[0](rows, give_up)
        with ThreadPoolExecutor(len(parts)) as pool:
            try:
                done = [pool.submit(work, part, give_up) for work, part in zip(workers, parts, strict=False)]
                wait(done, return_when=FIRST_EXCEPTION)
            finally:  # otherwise this would wait for what nobody wants any more
                give_up.set()
        return [result for part in done for result in part.result()]


@contextlib.contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """Have PyTorch use so many cores for one operation. Threads started inside take the number over."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
