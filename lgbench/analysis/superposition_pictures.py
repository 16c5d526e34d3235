"""Probabilities of several tasks' answers, over the mixture of their tags or of their demonstrations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.analysis.demonstrated import DemonstratedRecord
from lgbench.analysis.prompted_record import PromptedRecord
from lgbench.analysis.superposition import SuperpositionRecord
from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.util.text import plain


def superposition_curves(record: SuperpositionRecord) -> Figure:
    """A panel for each pair and length: both targets' probabilities, against the shares of the tags (dotted)."""
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(record.pairs))
        for pair, axes in zip(record.pairs, panels, strict=True):
            shares = [each.share for each in pair.points]
            both = [[each.main for each in pair.points], [each.other for each in pair.points]]
            _draw(axes, shares, both, [plain(record.main), plain(pair.other)])
            axes.set(xlabel=f"share of {plain(pair.other)}'s tag", ylabel="probability of the target")
            title = f"{plain(record.main)} and {plain(pair.other)}, length {pair.length}"
            axes.set_title(title, parse_math=False, fontsize=9)
    return figure


def demonstration_curves(record: DemonstratedRecord) -> Figure:
    """A panel for each number of demonstrations: both answers' probabilities, against their shares (dotted)."""
    first, second = record.values
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(record.cells))
        for cell, axes in zip(record.cells, panels, strict=True):
            shares = [each.shares[1] for each in cell.points]
            both = [[each.probabilities[at] for each in cell.points] for at in (0, 1)]
            _draw(axes, shares, both, [f"{record.plan.family} {first}", f"{record.plan.family} {second}"])
            axes.plot(shares, [each.other for each in cell.points], color="grey", label="all other answers")
            axes.set(xlabel=f"share of demonstrations of {second}", ylabel="probability of the answer")
            learned = "" if cell.learned else " (not learned)"
            axes.set_title(f"{cell.demonstrations} demonstrations{learned}", fontsize=9)
            legend(axes, columns=2)
    return figure


def _draw(axes: Any, shares: Sequence[float], both: Sequence[Sequence[float]], names: Sequence[str]) -> None:
    for values, ends, color, name in zip(both, ([1, 0], [0, 1]), ("C0", "C1"), names, strict=True):
        axes.plot(shares, values, color=color, marker=".", label=name)
        axes.plot([0, 1], ends, color=color, linestyle=":", linewidth=1)
    axes.plot([], [], color="grey", linestyle=":", linewidth=1, label="its share")
    axes.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    legend(axes, columns=2)


def prompted_bars(record: PromptedRecord) -> Figure:
    """A panel for each mixture: the probability of each task's answer, its deviation, and its share (black)."""
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(record.mixtures))
        for each, axes in zip(record.mixtures, panels, strict=True):
            places = range(len(record.tasks))
            label = "mean, and deviation over prompts"
            axes.bar(
                places, each.probabilities, yerr=each.deviations, color="C0", ecolor="grey", width=0.6, label=label
            )
            axes.bar(len(record.tasks), each.other, color="lightgrey", width=0.6)
            left, right = ([at + side for at in places] for side in (-0.4, 0.4))
            axes.hlines(each.shares, left, right, color="black", label="share of the examples")
            axes.set_xticks(range(len(record.tasks) + 1), [*record.tasks, "other"])
            axes.set(ylabel="probability of the answer", ylim=(-0.03, 1.03))
            shares = ", ".join(f"{100 * share:.0f} %" for share in each.shares)
            axes.set_title(f"examples: {shares}", fontsize=9)
            legend(axes, columns=2)
    return figure
