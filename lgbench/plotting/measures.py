"""What methods measured while runs trained: a panel for each family of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.training.record import TrainingRecord
from lgbench.util.errors import LgbenchError

_MOST_LINES = 12
"""Of a panel with a legend: more lines are drawn without."""


def measure_curves(records: Sequence[TrainingRecord]) -> Figure:
    """The measures of runs by training step, a panel for each family, such as `share` of `share/reverse 1-5`.

    Runs of the same arm and method are drawn in the same colours, the later ones dashed.

    Raises:
        LgbenchError: A record has no measures.
    """
    if not records or not all(record.measures for record in records):
        raise LgbenchError("A picture of measures needs runs whose method measured something.")
    families: dict[str, dict[str, None]] = {}
    for record in records:
        for measured in record.measures:
            for name in measured.values:
                families.setdefault(name.partition("/")[0], {})[name] = None
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(families))
        for (family, names), axes in zip(families.items(), panels, strict=True):
            for number, record in enumerate(records):
                for line, name in enumerate(names):
                    points = [(each.step, each.values[name]) for each in record.measures if name in each.values]
                    axes.plot(
                        [step for step, _ in points],
                        [value for _, value in points],
                        color=f"C{line % 10}",
                        linestyle="-" if number == 0 else "--",
                        linewidth=1.2,
                        marker="." if len(points) < 20 else "",
                        label=(name.partition("/")[2] or name) if number == 0 else None,
                    )
            axes.set(title=family, xlabel="step")
            if len(names) <= _MOST_LINES:
                legend(axes, columns=2)
    return figure
