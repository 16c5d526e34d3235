"""The generalization gap by training lengths, as in the paper's Figure 10."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from lgbench.plotting.canvas import STYLE, refuse_twice
from lgbench.training.points import dev_gap
from lgbench.training.record import TrainingRecord
from lgbench.training.spec import difference
from lgbench.util.errors import LgbenchError

_NOT_LEARNED = "* not every task was learned"


def gap_map(records: Sequence[TrainingRecord]) -> Figure:
    """The generalization gap by training lengths, mean over seeds: auxiliary length across, main length upwards.

    A star marks where a run has not learned all its tasks, as a model that has learned nothing has no gap.

    Args:
        records: The finished runs of one sweep.

    Raises:
        LgbenchError: They are of several sweeps, or two are of the same lengths and seed.
    """
    gaps = [dev_gap(record) for record in records]
    of_all = [record.plan.model_copy(update={"parts": (), "seed": 0}) for record in records]
    for plan in of_all[1:]:
        if (differs := difference(of_all[0], plan)) is not None:
            raise LgbenchError(f"A map of gaps is of one sweep, and these runs are not: {differs}. Name fewer folders.")
    pairs = zip(gaps, records, strict=True)
    refuse_twice((f"lengths {gap.main_length} and {gap.aux_length}", record.plan.seed) for gap, record in pairs)
    mains = sorted({each.main_length for each in gaps})
    auxes = sorted({each.aux_length for each in gaps})
    with mpl.rc_context(STYLE):
        figure = Figure(
            figsize=(max(3.4, 1.6 + 0.7 * len(auxes)), max(2.2, 1.2 + 0.6 * len(mains))), layout="constrained"
        )
        axes = figure.subplots()
        for row, main in enumerate(mains):
            for column, aux in enumerate(auxes):
                here = [each for each in gaps if (each.main_length, each.aux_length) == (main, aux)]
                if here:
                    mean = float(statistics.mean(each.gap for each in here))
                    mark = "" if all(each.learned for each in here) else "*"
                    color = "white" if mean > 0.5 else "black"
                    axes.add_patch(_square(column, row, mean))
                    axes.text(column, row, f"{mean:.2f}{mark}", ha="center", va="center", color=color)
        axes.set(xlim=(-0.5, len(auxes) - 0.5), ylim=(-0.5, len(mains) - 0.5))
        axes.set_xticks(range(len(auxes)), [str(each) for each in auxes])
        axes.set_yticks(range(len(mains)), [str(each) for each in mains])
        axes.set(
            xlabel="auxiliary trained to" + ("" if all(each.learned for each in gaps) else f"\n{_NOT_LEARNED}"),
            ylabel="main task trained to",
            title=f"{records[0].plan.group}: generalization gap",
        )
    return figure


def _square(column: int, row: int, share: float) -> Rectangle:
    return Rectangle((column - 0.5, row - 0.5), 1, 1, color=mpl.colormaps["Blues"](0.1 + 0.8 * share))
