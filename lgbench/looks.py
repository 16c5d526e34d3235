"""Layer 5: how arms and zones look in every picture, whoever draws it: `lgbench.plotting` or the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lgbench.groups import Zone


class Look(NamedTuple):
    """How a curve is drawn: its colour, and what of it is drawn and left out, in widths of the line."""

    color: str
    dashes: tuple[int, int] | None = None


ARM_LOOKS: Mapping[str, Look] = {
    "main_only": Look("#7f7f7f"),
    "transfer": Look("#1f77b4"),
    "control": Look("#d95f02", (2, 2)),  # where the baselines coincide, as they do at 0, both are seen
    "direct": Look("#1b9e77"),
}
ZONE_SHADES: Mapping[Zone, str] = {"in_distribution": "#e8f1e4", "transfer": "#e3ecf7", "beyond": "#f6eee6"}
