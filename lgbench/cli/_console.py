"""The consoles of rich that commands print tables and progress with."""

from __future__ import annotations

import re
import sys
import textwrap
from collections.abc import Iterable
from typing import TextIO, cast

import typer
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


def say(text: str, *, indent: str = "", hanging: str = "", most: int | None = None, reflow: bool = False) -> None:
    """Print a sentence on stdout. In a terminal its lines end between words, not wherever the terminal does.

    Args:
        text: The sentence; or several, each on a line.
        indent: What its first line begins with.
        hanging: What every further line begins with.
        most: The most columns, also of lines for a file or a pipe; None for no limit there.
        reflow: Whether the lines of a paragraph may be joined before they are wrapped.
    """
    console = PlainConsole()
    widths = [width for width in (console.width if console.is_terminal else None, most) if width is not None]
    if widths and reflow:
        text = re.sub(r"(?<=\S)\n(?=\S)", " ", text)
    for line in text.splitlines() or [""]:
        if widths:
            unbroken = line.replace(" %", "\N{NO-BREAK SPACE}%")
            wrapped = textwrap.fill(
                unbroken,
                min(widths),
                initial_indent=indent,
                subsequent_indent=hanging,
                break_long_words=False,
                break_on_hyphens=False,
            )
            typer.echo(wrapped.replace("\N{NO-BREAK SPACE}", " "))
        else:
            typer.echo(indent + line)
