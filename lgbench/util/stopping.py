"""Ctrl-C, and SIGTERM, with which a cluster or a container asks a program to end: both are a `KeyboardInterrupt`."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ended, as shells count: 128 and the signal's number."""
TERMINATED = 143
"""The same for SIGTERM."""


class Noted:
    """Whether something has come. A handler of signals may set it at any moment: unlike an event it has no lock."""

    def __init__(self) -> None:
        self._come = False

    def set(self) -> None:
        """Note that it has."""
        self._come = True

    def is_set(self) -> bool:
        """Whether it has."""
        return self._come


_terminated = Noted()


def heed_sigterm() -> None:
    """Make SIGTERM raise `KeyboardInterrupt` in this process: code that saves its work on Ctrl-C then saves it, too.

    A second SIGTERM does nothing: a cluster may send one to each process of a job, and the parent process another. A
    handler that is already there stays, and so does an ignored SIGTERM.
    """
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _interrupt)


@contextlib.contextmanager
def kept_sigterm() -> Iterator[None]:
    """Restore the handler of SIGTERM after the block, if there was one before it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if callable(before) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def was_terminated() -> bool:
    """Whether a SIGTERM came, rather than a Ctrl-C."""
    return _terminated.is_set()


@contextlib.contextmanager
def handling(handle: Callable[[Callable[[], None]], None]) -> Iterator[None]:
    """Within the block, Ctrl-C and the first SIGTERM call `handle`. It is given what Ctrl-C does without the block.

    A SIGTERM after either does nothing. Outside the main thread nothing changes. A signal that is ignored stays so, and
    a SIGTERM that somebody else handles stays theirs.
    """
    usual: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        usual = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    ours = {each: before for each, before in usual.items() if _is_ours(each, before)}
    asked = Noted()

    def act(number: int, frame: FrameType | None) -> None:
        before = ours[signal.Signals(number)]
        if number == signal.SIGTERM:
            _terminated.set()
            if asked.is_set():
                return
        asked.set()
        handle(lambda: before(number, frame))

    for each in ours:
        signal.signal(each, act)
    try:
        yield
    finally:
        for each, before in ours.items():
            signal.signal(each, before)


@contextlib.contextmanager
def interruptible() -> Iterator[Noted]:
    """Within the block the first Ctrl-C or SIGTERM is only noted; a second Ctrl-C does what it usually does.

    Where `handling` changes nothing, none is ever noted.

    Raises:
        KeyboardInterrupt: At the end of the block, if one was noted.
    """
    interrupted = Noted()

    def first(usual: Callable[[], None]) -> None:
        if interrupted.is_set():
            usual()
        interrupted.set()

    try:
        with handling(first):
            yield interrupted
    except Exception as error:
        if interrupted.is_set():
            raise KeyboardInterrupt from error
        raise
    if interrupted.is_set():
        raise KeyboardInterrupt


def _is_ours(number: signal.Signals, handler: Any) -> bool:
    if number == signal.SIGTERM:
        return handler in (signal.SIG_DFL, _interrupt)
    return callable(handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGTERM:
        if _terminated.is_set():
            return
        _terminated.set()
    raise KeyboardInterrupt
