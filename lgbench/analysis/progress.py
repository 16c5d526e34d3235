"""How an analysis that takes a while says how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Progress(NamedTuple):
    """How far an analysis is.

    Attributes:
        done: Parts that are done.
        total: Parts in all.
        what: What comes next.
    """

    done: int
    total: int
    what: str


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """Say nothing."""
