"""Where what is printed goes, what of it a terminal gets to see, and in which characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

import typer

from lgbench.util.private_api import flush_c_streams
from lgbench.util.text import plain_lines

if TYPE_CHECKING:
    import pandas as pd

# What rich writes to a terminal: styles, and the moves of a live display.
_STYLES = re.compile(r"(\x1b\[[0-9;]*m|\x1b\[[0-9]*[AK]|\x1b\[\?25[hl]|\r)")


class _Stream:
    """A text stream that passes on what it is given, made plain. All else is as the stream below has it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; how many characters of it were taken."""
        self._stream.write(self._plain(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def _plain(self, text: str) -> str:
        return plain_lines(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _StyledStream(_Stream):
    """One that lets a console's own styles through, where there is a terminal."""

    def _plain(self, text: str) -> str:
        if not (self._stream.isatty() or os.environ.get("FORCE_COLOR") or os.environ.get("TTY_COMPATIBLE")):
            return plain_lines(re.sub("\r\n?", "\n", text))
        parts = _STYLES.split(text)
        return "".join(part if number % 2 else plain_lines(part) for number, part in enumerate(parts))


class _PlainStream(_Stream):
    """One for text alone. To rich, which asks for it by this name, it hands out one that lets styles through."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.rich_proxied_file = _StyledStream(stream)

    if sys.platform == "win32":  # `typer.echo` would write to a console's buffer past this stream
        buffer = None


class _PlainFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return plain_lines(super().format(record))


@contextlib.contextmanager
def plain_streams() -> Iterator[None]:
    """Let no control character of what is printed or logged within the block reach stdout or stderr.

    Line feeds and tabs are none; the styles of a `rich` console reach a terminal.
    """
    before = sys.stdout, sys.stderr
    stdout, stderr = (None if each is None else cast(TextIO, _PlainStream(each)) for each in before)
    sys.stdout, sys.stderr = stdout, stderr  # None where a process has none
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(_PlainFormatter())
    try:
        yield
    finally:
        if logging.lastResort is not None:
            logging.lastResort.setFormatter(None)
        # Where nobody reads on, others are there by now, which fail in silence when Python ends.
        sys.stdout = before[0] if sys.stdout is stdout else sys.stdout
        sys.stderr = before[1] if sys.stderr is stderr else sys.stderr


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


def print_csv(frame: pd.DataFrame) -> None:
    r"""Print a frame as CSV. Control characters but line feeds and tabs are spelled as in `\x1b`."""
    typer.echo(plain_lines(frame.to_csv(index=False)), nl=False)  # which else drops escape sequences


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is printed to stderr, also by C libraries and child processes, where stdout is a real file.

    The code of others that runs within the block may draw a progress bar in a terminal.
    """
    with contextlib.ExitStack() as stack:
        styled = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        stack.enter_context(contextlib.redirect_stderr(styled))
        stack.enter_context(contextlib.redirect_stdout(styled))
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
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    flush_c_streams()
