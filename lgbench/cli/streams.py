"""Where what is printed goes, while the code of others runs."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed to stderr, also by C libraries and child processes, where stdout is a real file."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if sys.__stdout__ is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.__stdout__.flush()
                kept = os.dup(1)
                stack.callback(os.close, kept)
                stack.callback(os.dup2, kept, 1)
                os.dup2(2, 1)
                stack.callback(_flush, sys.__stdout__)  # what is held back belongs to stderr too
        yield


def _flush(stream: TextIO) -> None:
    """Write what a stream, and what the C library, still hold back."""
    import ctypes

    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    with contextlib.suppress(OSError, TypeError, AttributeError):  # not every system has it under this name
        ctypes.CDLL(None).fflush(None)
