"""Shares and their differences as text, for people. A number that rounds to nothing has no minus."""

from __future__ import annotations

from fractions import Fraction

NONE = "-"


def percent(share: Fraction | float | None) -> str:
    """A share as a percentage with one decimal, which only an exact 0 or 1 lacks: 2559 of 2560 are "100.0"."""
    if share is None:
        return NONE
    return str(int(100 * share)) if share in (0, 1) else one_decimal(share)


def one_decimal(share: Fraction | float) -> str:
    """A share as a percentage with one decimal, whatever it is."""
    return f"{float(100 * share):z.1f}"


def points(difference: Fraction | float) -> str:
    """A difference of shares in percentage points, with its sign and one decimal."""
    return f"{float(100 * difference):+z.1f}"
