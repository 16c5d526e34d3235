"""How arms and zones look in every picture, whoever draws it: `lgbench.plotting` or the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lgbench.data.groups import Arm, Zone


class Style(NamedTuple):
    """How a curve is drawn: its colour, and what of it is drawn and left out, in widths of the line."""

    color: str
    dashes: tuple[int, int] | None = None


ARM_STYLES: Mapping[str, Style] = {
    "main_only": Style("#7f7f7f"),
    "transfer": Style("#1f77b4"),
    "control": Style("#d95f02", (2, 2)),  # where the baselines coincide, as they do at 0, both are seen
    "direct": Style("#1b9e77"),
    "short_aux": Style("#7570b3", (4, 2)),
}
_OTHER_STYLES = (Style("#e7298a"), Style("#66a61e"), Style("#e6ab02"), Style("#a6761d"))

# Of the palette of Okabe and Ito, whose colours people with any colour vision tell apart.
SYSTEM_STYLES = (
    *(Style("#0072b2"), Style("#d55e00"), Style("#009e73"), Style("#cc79a7"), Style("#e69f00"), Style("#56b4e9")),
    *(Style("#0072b2", (2, 2)), Style("#d55e00", (2, 2)), Style("#009e73", (2, 2)), Style("#cc79a7", (2, 2))),
)
"""Systems in one picture, by their order."""


def arm_style(arms: Sequence[Arm], name: str) -> Style:
    """How an arm of a group is drawn: a published one always alike, a draft suite's own by its place among them."""
    if name in ARM_STYLES:
        return ARM_STYLES[name]
    others = [arm.name for arm in arms if arm.name not in ARM_STYLES]
    return _OTHER_STYLES[others.index(name) % len(_OTHER_STYLES)]


ZONE_SHADES: Mapping[Zone, str] = {"in_distribution": "#e8f1e4", "transfer": "#e3ecf7", "beyond": "#f6eee6"}
