"""Where what is printed goes, and in which characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO

BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = str.maketrans(
    dict(zip(BLOCKS, "_.:-=+*#", strict=True))
    | {"≥": ">=", "≤": "<=", "±": "+-", "→": "->", "←": "<-", "…": "..."}
    | dict.fromkeys("\N{EN DASH}\N{EM DASH}", "-")
    | dict.fromkeys("\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}", "'")
    | dict.fromkeys("\N{LEFT DOUBLE QUOTATION MARK}\N{RIGHT DOUBLE QUOTATION MARK}", '"')
)
_ERRORS = "lgbench_plain"


def showable(text: str) -> str:
    """Text for stdout: with our special characters spelled in ASCII if its encoding lacks one of them.

    Among characters that a stream lacks, `prepare_streams` replaces these too. But a table must be laid out for what is
    printed, and a bar must not be of blocks where some of them are missing.
    """
    try:
        "".join(map(chr, _PLAIN)).encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_PLAIN)
    return text


def prepare_streams() -> None:
    """Make sure that no character ends a run because stdout or stderr cannot show it: it is spelled in ASCII."""
    codecs.register_error(_ERRORS, _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ERRORS)


def _spelled(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    spelled = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(each if each.isascii() else each.encode("unicode_escape").decode() for each in spelled), error.end


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
