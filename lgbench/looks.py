"""Layer 5: how arms and zones look in every picture, whoever draws it: `lgbench.plotting` or the leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from lgbench.groups import Arm, Zone


class Look(NamedTuple):
    """How a curve is drawn: its colour, and what of it is drawn and left out, in widths of the line."""

    color: str
    dashes: tuple[int, int] | None = None


ARM_LOOKS: Mapping[str, Look] = {
    "main_only": Look("#7f7f7f"),
    "transfer": Look("#1f77b4"),
    "control": Look("#d95f02", (2, 2)),  # where the baselines coincide, as they do at 0, both are seen
    "direct": Look("#1b9e77"),
    "short_aux": Look("#7570b3", (4, 2)),
}
_OTHER_LOOKS = (Look("#e7298a"), Look("#66a61e"), Look("#e6ab02"), Look("#a6761d"))


def arm_look(arms: Sequence[Arm], name: str) -> Look:
    """How an arm of a group is drawn: a published one always alike, a draft suite's own by its place among them."""
    if name in ARM_LOOKS:
        return ARM_LOOKS[name]
    others = [arm.name for arm in arms if arm.name not in ARM_LOOKS]
    return _OTHER_LOOKS[others.index(name) % len(_OTHER_LOOKS)]


ZONE_SHADES: Mapping[Zone, str] = {"in_distribution": "#e8f1e4", "transfer": "#e3ecf7", "beyond": "#f6eee6"}
