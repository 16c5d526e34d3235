"""The consoles of rich that commands print tables and progress with."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO, cast

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from lgbench.util.text import plain_lines


class PlainConsole(Console):
    """A console whose only escape sequences are its own: those in what it prints are shown as text.

    Args:
        err: Print to stderr, not to stdout.
        width: Columns; None for those of the terminal.
    """

    def __init__(self, *, err: bool = False, width: int | None = None) -> None:
        stream = sys.stderr if err else sys.stdout
        # `plain_streams` escapes what is written to it, and hands out a stream that lets a console's styles through.
        target = cast(TextIO, getattr(stream, "rich_proxied_file", stream))
        super().__init__(file=target, width=width, emoji=False)  # "model.py:M:" is a name, and no picture

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of text that something is printed as, with their styles."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else plain_lines(text), style, control)


def wide_console() -> Console:
    """A console on stdout; into a file or a pipe, wide enough for every table."""
    console = PlainConsole()
    return console if console.is_terminal else PlainConsole(width=120)
