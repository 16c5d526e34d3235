"""Layer 0: processes that work for another one."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Block = TypeVar("Block")


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, killed even. Call it first in the new process."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="lgbench-end-with-parent").start()


def drawn_ahead(draw: Callable[[int], Block], *, first: int, workers: int) -> Iterator[Block]:
    """The endless blocks `draw(first)`, `draw(first + 1)` and so on, in order, drawn by other processes.

    Args:
        draw: Gives a block by its number. It crosses to the processes, so it is a function of a module, or a `partial`.
        first: The number of the first block.
        workers: Processes; each has one more block waiting than it draws.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=end_with_parent)
    waiting: deque[Future[Block]] = deque()
    try:
        for number in itertools.count(first):
            waiting.append(pool.submit(draw, number))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
    finally:  # whoever stops reading waits for the blocks that are being drawn, but not for those that wait
        pool.shutdown(cancel_futures=True)
