"""Tables in the terminal: each in its own width, and narrower where the terminal is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from lgbench.cli._console import PlainConsole, say, wide_console
from lgbench.cli._streams import BLOCKS, showable
from lgbench.util.tables import Curve
from lgbench.util.tables import Table as Drawn

_WIDEST = 500
_NARROWEST_TEXT = 24


def print_table(table: Table, *, spare: str | None = None) -> None:
    """Print a table in its own width: in a narrower terminal its lines wrap, so that no number is cut or left out.

    Args:
        table: The table. Its last column wraps within itself if it is of words and has room for some.
        spare: The heading of the last column, if it shows nothing that the others do not: left out rather than wrapped.
    """
    console = wide_console()
    if console.is_terminal and _width(table, console) > console.width:
        _fold_headings(table)
    if _width(table, console) > console.width:
        table.show_edge = False
        if table.columns[-1].header == spare:
            table.columns.pop()
    lines = "" if table.show_edge else "\n"  # which the edge has above and below
    width = _width(table, console)
    wraps = console.is_terminal and not table.columns[-1].no_wrap
    if wraps and console.width - (width - _text_width(table, console)) >= _NARROWEST_TEXT:
        width = console.width
    PlainConsole(width=max(console.width, width)).print(lines, table, lines, sep="", end="")


def print_parts(parts: Sequence[Drawn | str]) -> None:
    """Print the tables and lines of a report in their order."""
    console = wide_console()
    for part in parts:
        if isinstance(part, str):
            text = part.lstrip(" ")
            indent = part[: len(part) - len(text)]
            say(text, indent=indent, hanging=indent + "  " if indent else "")
            continue
        if not fits(part):
            part = _lifted(part)
        if part.title:
            console.print(part.title, markup=False, highlight=False)
        has_curve = any(isinstance(row[-1], Curve) for row in part.rows)
        print_table(_drawn(part), spare=part.columns[-1] if has_curve else None)


def fits(part: Drawn) -> bool:
    """Whether no line of a table wraps; in a file or a pipe none does."""
    console = wide_console()
    return not console.is_terminal or _width(_drawn(part), console) <= console.width


def _lifted(part: Drawn) -> Drawn:
    """A table with what its first column says in every row in the title, if it says the same in all."""
    first = {row[0] for row in part.rows}
    if part.text < 2 or len(part.rows) < 2 or len(first) > 1:
        return part
    title = f"{part.title} ({part.columns[0]}: {first.pop()})"
    return Drawn(title, part.columns[1:], [row[1:] for row in part.rows], text=part.text - 1)


def _drawn(part: Drawn) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(part.columns):
        is_prose = part.text == len(part.columns) == number + 1
        table.add_column(heading, justify="left" if number < part.text else "right", no_wrap=not is_prose)
    for row in part.rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    return table


def _shown(cell: object) -> str:
    if isinstance(cell, Curve):
        return blocks(cell.accuracies)
    return "-" if cell is None else showable(str(cell))


def _fold_headings(table: Table) -> None:
    """Break headings at hyphens and spaces, if they are wider than what is below them."""
    for column in table.columns:
        heading = str(column.header)
        if len(heading) > max((len(str(cell)) for cell in column.cells), default=0):
            column.header = re.sub("(?<=-)|(?<= )", "\n", heading).strip()


def _text_width(table: Table, console: Console) -> int:
    """The columns that the last column takes where nothing in it wraps."""
    cells = [table.columns[-1].header, *table.columns[-1].cells]
    return max(Measurement.get(console, console.options.update(max_width=_WIDEST), cell).maximum for cell in cells)


def _width(table: Table, console: Console) -> int:
    return Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum


def blocks(accuracies: Iterable[Fraction]) -> str:
    """One block for each accuracy."""
    return showable("".join(_block(accuracy) for accuracy in accuracies))


def _block(accuracy: Fraction) -> str:
    if accuracy in (0, 1):
        return BLOCKS[-1 if accuracy else 0]
    return BLOCKS[1 + int(accuracy * (len(BLOCKS) - 2))]
