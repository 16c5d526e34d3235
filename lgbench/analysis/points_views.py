"""The tables and the picture of `lgbench analyze points`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lgbench.analysis.points import PointsRecord
from lgbench.util.tables import Table
from lgbench.util.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tabulate_points(record: PointsRecord) -> list[Table | str]:
    """The gap and the measures at each point, and how they go together."""
    rows = []
    for point in record.points:
        for each in point.apart:
            values = (each.gap, each.ablation_exact, each.ablation_logprob, each.attention)
            shown = [None if value is None else f"{value:.3f}" for value in values]
            rows.append([each.task, point.step, "yes" if each.learned else "no", *shown])
    lengths = ", ".join(map(str, record.lengths))
    title = f"How far tasks are from {record.tasks[0]}, by mean ablation at length {lengths} (lower is more alike)"
    columns = ["task", "step", "learned", "gap", "ablation, exact", "ablation, logprob", "attention"]
    correlations = [
        [each["task"], each["measure"].replace("_", ", "), *(_rho(each[name]) for name in ("points", "changes"))]
        for each in record.correlations().to_dict("records")
    ]
    return [
        Table(title, columns, rows),
        Table(
            "Spearman's correlation with the gap",
            ["task", "measure", "over points", "over changes"],
            correlations,
            text=2,
        ),
        "Gap and measures both drift while a model trains, so that they may agree over points without having to do "
        "with each other; look at the changes, at several seeds, and at the control task in arm control.",
    ]


def _rho(value: float | None) -> str | None:
    return None if value is None or value != value else f"{value:+.2f}"


def measures_over_training(record: PointsRecord) -> Figure:
    """The gap and the two measures over training, a panel for each other task (the paper's Figures 18 and 19).

    Points at which one of the tasks is not learned at the lengths of the maps are hollow.
    """
    import matplotlib as mpl

    from lgbench.plotting.canvas import STYLE, legend, make_panels

    lines = {"gap": "generalization gap", "ablation_exact": "ablation maps", "attention": "attention"}
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(record.tasks) - 1)
        for task, axes in zip(record.tasks[1:], panels, strict=True):
            each = [(point.step, one) for point in record.points for one in point.apart if one.task == task]
            for (name, label), color in zip(lines.items(), ("black", "tab:blue", "tab:orange"), strict=True):
                values = [getattr(one, name) for _, one in each]
                if any(value is None for value in values):
                    continue
                steps = [step for step, _ in each]
                axes.plot(steps, values, color=color, label=label)
                for step, value, (_, one) in zip(steps, values, each, strict=True):
                    axes.plot(step, value, "o", color=color, markerfacecolor=color if one.learned else "white")
            axes.set_title(plain(f"{record.tasks[0]} and {task}"), parse_math=False, fontsize=9)
            axes.set(xlabel="step", ylabel="gap, or distance of the tasks", ylim=(0, None))
            axes.plot([], [], "o", color="grey", markerfacecolor="white", label="not learned")
            legend(axes, columns=2)
    return figure
