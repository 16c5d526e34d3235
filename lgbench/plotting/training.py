"""Accuracy by zone over the steps of training, as in the paper's Figure 11."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lgbench.data.groups import ZONES, Group, Zone
from lgbench.data.suites import load_suite
from lgbench.plotting.canvas import STYLE, legend, make_panels, refuse_twice
from lgbench.training.points import zone_accuracies
from lgbench.training.record import TrainingRecord
from lgbench.util.errors import LgbenchError

ZONE_COLORS: Mapping[Zone, str] = {"in_distribution": "#1b9e77", "transfer": "#1f77b4", "beyond": "#d95f02"}


def training_curves(records: Sequence[TrainingRecord]) -> Figure:
    """Dev accuracy of the main task by zone over the steps, a panel for each arm of each group, as in Figure 11.

    Raises:
        LgbenchError: A record has no points, or two are of the same arm, group and seed.
    """
    if not records or not all(record.curve for record in records):
        raise LgbenchError("A training curve needs runs of `lgbench train` that have reached their first point.")
    plans = [record.plan for record in records]
    refuse_twice((f"arm {plan.arm!r} of group {plan.group!r} in {plan.suite}", plan.seed) for plan in plans)
    ordered = sorted(records, key=_place)
    arms = list(dict.fromkeys((record.plan.suite, record.plan.group, record.plan.arm) for record in ordered))
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(arms))
        for (suite, group, arm), axes in zip(arms, panels, strict=True):
            own = [each for each in records if (each.plan.suite, each.plan.group, each.plan.arm) == (suite, group, arm)]
            _draw_training(axes, load_suite(suite).group(group), own)
            draft = " (draft suite)" if load_suite(suite).draft else ""
            axes.set_title(f"{group}, {arm}: {load_suite(suite).group(group).main}{draft}")
    return figure


def _place(record: TrainingRecord) -> int:
    """Where the arm of a run is among those of its group."""
    return [arm.name for arm in record.plan.suite_group.arms].index(record.plan.arm)


def _draw_training(axes: Axes, group: Group, records: Sequence[TrainingRecord]) -> None:
    for zone in ZONES:
        if not group.zone_lengths(zone):
            continue
        for number, record in enumerate(records):
            steps = [point.step for point in record.curve]
            shares = [float(100 * (zone_accuracies(record.plan, point)[zone] or 0)) for point in record.curve]
            label = zone.replace("_", "-") if number == 0 else None
            # Where both are 0, as they are without transfer, both are seen.
            style: Any = (0, (2, 2)) if zone == "beyond" else "-"
            axes.plot(steps, shares, color=ZONE_COLORS[zone], linestyle=style, linewidth=1.2, alpha=0.8, label=label)
    axes.set(xlabel="step", ylabel="dev exact match in %", ylim=(-3, 103))
    legend(axes, columns=3)
