"""Pictures of `lgbench analyze reuse`: what was observed within its null distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.analysis.reuse_record import OtherTask, ReuseRecord
from lgbench.plotting.canvas import STYLE, legend
from lgbench.util.text import plain

_LEAST_SCORE = -2


class _Panel(NamedTuple):
    title: str
    label: str
    observed: float | None
    null: Sequence[float]
    beside: dict[str, float | None]


def null_distributions(record: ReuseRecord) -> Figure:
    """A row for each other task, a panel for each test: its null distribution, and what was observed as a line."""
    rows = [_panels(each) for each in record.others]
    columns = max(len(row) for row in rows)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(3.2 * columns, 2.8 * len(rows)), layout="constrained")
        grid = figure.subplots(len(rows), columns, squeeze=False)
        for axes_row, each, panels in zip(grid, record.others, rows, strict=True):
            for spare in axes_row[len(panels) :]:
                spare.remove()
            for axes, panel in zip(axes_row, panels, strict=False):
                _draw(axes, panel)
            axes_row[0].set_ylabel(f"{plain(each.task)}: sets or orders")
    return figure


def _panels(each: OtherTask) -> list[_Panel]:
    test, kept, swap = each.importance, each.sufficiency, each.interchange
    panels = [_Panel("1 maps", "rank correlation", test.rho, test.null, {"ceiling": test.ceiling, "floor": test.floor})]
    panels += [
        _Panel(
            f"2 lost without, {damage.zone.replace('_', '-')}",
            "nats a token",
            damage.lost,
            damage.null,
            {"own heads": damage.own, "unrelated task": damage.unrelated},
        )
        for damage in each.necessity
    ]
    panels.append(_Panel("3 kept with them alone", "area", kept.area, kept.null, {"own heads": kept.own}))
    if swap is not None:
        null = [max(score, _LEAST_SCORE) for score in swap.null]  # where little is lost, scores are far below 0
        panels.append(_Panel("4 interchange", f"score (from {_LEAST_SCORE} on)", swap.score, null, {}))
    return panels


def _draw(axes: Any, panel: _Panel) -> None:
    if panel.null:
        axes.hist(panel.null, bins=20, color="lightgrey")
    if panel.observed is not None:
        axes.axvline(panel.observed, color="tab:blue", label="observed")
    for (name, value), style in zip(panel.beside.items(), ("--", ":"), strict=False):
        if value is not None:
            axes.axvline(value, color="tab:orange", linestyle=style, label=name)
    axes.set_title(panel.title, fontsize=9)
    axes.set_xlabel(panel.label)
    legend(axes, columns=3)
