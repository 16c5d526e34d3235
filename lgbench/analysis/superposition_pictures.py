"""Probabilities of two tasks' targets over the mixture of their tags."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.analysis.superposition import SuperpositionRecord
from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.util.text import plain


def superposition_curves(record: SuperpositionRecord) -> Figure:
    """A panel for each pair and length: both targets' probabilities, against the shares of the tags (dotted)."""
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(record.pairs))
        for pair, axes in zip(record.pairs, panels, strict=True):
            shares = [each.share for each in pair.points]
            axes.plot(shares, [each.main for each in pair.points], color="C0", label=plain(record.main))
            axes.plot(shares, [each.other for each in pair.points], color="C1", label=plain(pair.other))
            axes.plot([0, 1], [1, 0], color="C0", linestyle=":", linewidth=1)
            axes.plot([0, 1], [0, 1], color="C1", linestyle=":", linewidth=1)
            axes.set(xlabel="share of the second tag", ylabel="probability of the target", ylim=(-0.03, 1.03))
            axes.set_title(f"{plain(record.main)} and {plain(pair.other)}, {pair.length}", parse_math=False)
            legend(axes, columns=2)
    return figure
