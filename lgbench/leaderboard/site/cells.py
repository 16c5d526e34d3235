"""Cells of tables on the web page, and JSON inside a page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from lgbench.leaderboard.markdown import estimated
from lgbench.scoring.estimates import Estimate

if TYPE_CHECKING:
    from markupsafe import Markup


class Cell(NamedTuple):
    """A figure.

    Attributes:
        value: As text.
        interval: As text, with the marks that belong to it; empty for none.
        sort: The sort key; None if the figure is unknown.
    """

    value: str
    interval: str
    sort: float | None


def figure(estimate: Estimate | None, *, of: int = 1, signed: bool = False, mark_one_seed: bool = True) -> Cell:
    """A mean with its interval, as the Markdown board writes it."""
    text = estimated(estimate, of=of, signed=signed, mark_one_seed=mark_one_seed)
    value, blank, rest = text.partition(" ")
    return Cell(value, rest if blank else "", None if estimate is None else round(float(estimate.value), 6))


def json_script(data: Any) -> Markup:
    """Data for a `script` element: JSON in which nothing ends the element or begins another."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
