"""How far something is that consists of parts, for whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Part = TypeVar("Part")
CountReport = Callable[[int, int], None]
"""Takes how many parts are done, and of how many."""


def no_report(done: int, total: int) -> None:
    """Say nothing."""


def counted(parts: Sequence[Part], report: CountReport) -> Iterator[Part]:
    """The parts in their order, with a report before the first and after each.

    Examples:
        >>> list(counted("ab", lambda done, total: print(f"{done}/{total}")))
        0/2
        1/2
        2/2
        ['a', 'b']
    """
    report(0, len(parts))
    for number, part in enumerate(parts, 1):
        yield part
        report(number, len(parts))
