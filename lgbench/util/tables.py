"""A table before it is drawn for a terminal or written as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple


class Curve(NamedTuple):
    """A cell that is drawn as one block for each accuracy."""

    accuracies: Sequence[Fraction]


@dataclass(frozen=True)
class Table:
    """A table with a title.

    Attributes:
        title: The line above it; empty for none.
        columns: The headings.
        rows: A cell for each column: text, a number, a `Curve`, or None, which is shown as "-".
        text: How many of the first columns hold text, which is aligned to the left.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    text: int = 1
