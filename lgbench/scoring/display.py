"""Shares and their differences as text, for people. A number that rounds to nothing has no minus."""

from __future__ import annotations

from fractions import Fraction


def percent(share: Fraction | float) -> str:
    """A share as a percentage with one decimal."""
    return f"{float(100 * share):z.1f}"


def points(difference: Fraction | float) -> str:
    """A difference of shares in percentage points, with its sign and one decimal."""
    return f"{float(100 * difference):+z.1f}"
