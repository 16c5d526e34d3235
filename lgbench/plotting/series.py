"""Accuracy by pretraining step, as in the paper's Figure 9."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.experiments.series import by_step
from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.results.schema import Result
from lgbench.scoring.measures import counts_by_task
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain


def series_curves(results: Sequence[Result]) -> Figure:
    """Accuracy by pretraining step, a panel for each task and a line for each length: Figure 9 of the paper.

    Args:
        results: Of one series of checkpoints, with the same cells.

    Raises:
        LgbenchError: A result names no step, or the cells differ.
    """
    counts = {step: counts_by_task(result) for step, result in by_step(results).items()}
    first, *others = counts.values()
    if any(
        {task: list(lengths) for task, lengths in each.items()} != {t: list(n) for t, n in first.items()}
        for each in others
    ):
        raise LgbenchError("The results of a series must hold the same cells.")
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(first))
        for task, axes in zip(first, panels, strict=True):
            shades = mpl.colormaps["viridis_r"].resampled(max(len(first[task]), 2))
            for number, length in enumerate(first[task]):
                cells = [each[task][length] for each in counts.values()]
                values = [100 * cell.correct / cell.total for cell in cells]
                axes.plot(list(counts), values, color=shades(number), marker="o", markersize=3, label=str(length))
            axes.set_title(plain(task), parse_math=False)  # a stranger may have named it
            axes.set(xlabel="pretraining step", ylabel="exact match in %", ylim=(-3, 103))
            legend(axes, columns=5, title="length")
    return figure
