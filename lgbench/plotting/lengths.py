"""Accuracy by length, as in the paper's Figures 3 to 8."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lgbench.data.groups import Group
from lgbench.data.suites import Suite, load_suite
from lgbench.plotting.canvas import STYLE, legend, make_panels, refuse_twice
from lgbench.results.schema import Result
from lgbench.scoring.comparison import serving
from lgbench.scoring.curves import axis_ends, curve, zone_spans
from lgbench.scoring.styles import ZONE_SHADES, arm_style
from lgbench.util.errors import LgbenchError


def length_curves(results: Sequence[Result]) -> Figure:
    """Accuracy of the main task by length, a panel for each group: each seed thin, the mean of an arm bold.

    The zones are shaded; dashed lines stand at the training lengths: Figures 3 to 8 of the paper.

    Args:
        results: Of trained arms of one suite.

    Raises:
        LgbenchError: There is none, they are of several suites, or two are of the same arm, group and seed.
    """
    suites = {result.suite: result.draft for result in results if result.group is not None}
    if len(suites) != 1:
        raise LgbenchError("Curves need results of trained arms, all of one suite. Name folders of such results.")
    refuse_twice((f"arm {each.arm!r} of group {each.group!r}", each.seed) for each in results)
    suite = load_suite(*suites.popitem())
    named = {result.group for result in results}
    groups = [group for group in suite.groups if group.name in named]
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(groups))
        for group, axes in zip(groups, panels, strict=True):
            _draw_lengths(axes, suite, group, results)
    return figure


def _draw_lengths(axes: Axes, suite: Suite, group: Group, results: Sequence[Result]) -> None:
    shade_zones(axes, group)
    for arm in (each.name for each in group.arms):
        own = serving(results, suite, arm, group)
        if not own:
            continue
        shown = curve(arm, own, group.main, group.grid)
        color, dashes = arm_style(group.arms, arm)
        look: dict[str, Any] = {"color": color, "linestyle": (0, dashes) if dashes else "-"}
        for seed in shown.seeds if len(shown.seeds) > 1 else []:
            axes.plot(group.grid, [float(100 * share) for share in seed], **look, linewidth=0.6, alpha=0.6)
        mean = [float(100 * share) for share in shown.mean]
        axes.plot(group.grid, mean, **look, linewidth=2.0, marker="o", markersize=3, label=shown.label)
    title = f"{group.name}: {group.main}{' (draft suite)' if suite.draft else ''}"
    axes.set(title=title, xlabel="length", ylabel="exact match in %", ylim=(-3, 113))
    axes.set_xticks(group.grid)
    axes.set_yticks(range(0, 101, 20))
    legend(axes, columns=2)


def shade_zones(axes: Axes, group: Group) -> None:
    """Shade the zones of a group, with their names above and dashed lines at its training lengths."""
    for zone, left, right in zone_spans(group):
        axes.axvspan(left, right, color=ZONE_SHADES[zone], linewidth=0)
        look: dict[str, Any] = {"fontsize": 7, "color": "#555555", "ha": "center", "va": "top"}
        across = axes.get_xaxis_transform()  # the height as a share of the panel's
        axes.text((left + right) / 2, 0.985, zone.replace("_", "-"), transform=across, **look)
    for length, label in ((group.main_length, "training lengths"), (group.aux_length, None)):
        axes.axvline(length, color="#555555", linewidth=0.8, linestyle="--", label=label)
    axes.set_xlim(*axis_ends(group.grid))
