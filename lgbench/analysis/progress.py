"""How an analysis reports its progress."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """The progress of an analysis.

    Attributes:
        done: Number of parts that are done.
        total: Number of all parts.
        what: The part that comes next.
    """

    done: int
    total: int
    what: str


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Say nothing."""
