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
    """A difference of shares in percentage points, with its sign and one decimal, which only an exact 0 lacks."""
    if difference == 0:
        return "0"
    rounded = f"{float(100 * difference):+z.1f}"
    return rounded.removeprefix("+") if rounded == "+0.0" else rounded


def points_between(low: Fraction | float, high: Fraction | float) -> str:
    """The ends of a 95 % interval of a difference.

    Examples:
        >>> points_between(0.248, 0.853), points_between(-0.0001, 0.0002)
        ('95 % interval +24.8 to +85.3', '95 % interval within 0.1 of it')
    """
    ends = points(low), points(high)
    return "95 % interval within 0.1 of it" if ends == ("0.0", "0.0") else f"95 % interval {ends[0]} to {ends[1]}"
