"""Processes that work for another one."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

Block = TypeVar("Block")
Part = TypeVar("Part")
SECONDS_TO_SAVE = 25
"""What work in other processes gets to save what it has done. Slurm kills a job 30 seconds after asking it to end."""
_SECONDS_BETWEEN_LOOKS = 0.2
_counts: list[Synchronized[int]] = []  # of a process of a `CountingPool`: what it counts


class ProcessEndedError(LgbenchError):
    """The process that executed a call ended before the call did: it was killed, or crashed."""


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, killed even. Call it first in the new process."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True, name="lgbench-end-with-parent").start()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def begin_work() -> None:
    """Prepare a process that works for another one: it ends with that one, and leaves Ctrl-C and SIGTERM to it."""
    end_with_parent()
    for each in (signal.SIGINT, signal.SIGTERM):  # a terminal, or a cluster, sends them to every process of a job
        signal.signal(each, signal.SIG_IGN)


def drawn_ahead(draw: Callable[[int], Block], *, first: int, workers: int) -> Iterator[Block]:
    """The endless blocks `draw(first)`, `draw(first + 1)` and so on, in order, drawn by other processes.

    Args:
        draw: Gives a block by its number. It is pickled, so it is a module-level function, or a `partial` of one.
        first: The number of the first block.
        workers: Processes. While a block is used, the next `2 * workers` are ready, being drawn, or wait to be.

    Raises:
        LgbenchError: One of them was killed.
    """
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=begin_work)
    waiting: deque[Future[Block]] = deque()
    try:
        for number in itertools.count(first):
            waiting.append(pool.submit(draw, number))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
    except BrokenProcessPool:
        raise LgbenchError(
            "A process that draws examples ahead has ended. Its message may stand above; without one it was killed, "
            "perhaps for want of memory. Go on from where this stopped, with workers=0."
        ) from None
    finally:  # whoever stops reading waits for the blocks that are being drawn, but not for those that wait
        with contextlib.suppress(RuntimeError):  # an abandoned reader may be collected in the pool's own thread
            pool.shutdown(cancel_futures=True)


class CountingPool:
    """Processes that work for this one, and say what they have done with `count_one`.

    Args:
        workers: How many.
        on_one: Called in this process for each thing that is counted, while a result is awaited.
    """

    def __init__(self, workers: int, on_one: Callable[[], None]) -> None:
        context = multiprocessing.get_context("spawn")
        self._count, self._told = context.Value("Q", 0), 0
        self._on_one = on_one
        self._pool = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(self._count,))

    def map(self, call: Callable[[Part], Block], parts: Sequence[Part]) -> Iterator[Block]:
        """What the call, which is pickled, gives for each of the parts, in their order.

        Raises:
            BrokenProcessPool: A process ended before its work was done.
        """
        try:
            for future in [self._pool.submit(call, part) for part in parts]:
                while not wait([future], _SECONDS_BETWEEN_LOOKS).done:
                    self._tell()
                self._tell()
                yield future.result()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _tell(self) -> None:
        # Read without its lock, which a process that was killed may hold.
        while self._told < self._count.get_obj().value:
            self._told += 1
            self._on_one()


def count_one() -> None:
    """Count one thing as done, if this is a process of a `CountingPool`."""
    for count in _counts:
        with count.get_lock():
            count.value += 1


def _begin(done: Synchronized[int]) -> None:
    _counts.append(done)
    begin_work()
