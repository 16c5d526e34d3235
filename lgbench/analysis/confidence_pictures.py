"""Pictures of confidence: reliability diagrams by zone, and risk by coverage of single cells."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from lgbench.analysis.confidence_record import ConfidenceRecord
from lgbench.analysis.scored import SCALE, Score
from lgbench.analysis.separation import reliability, risk_by_coverage
from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.util.text import plain

_DRAWN: tuple[Score, ...] = ("sum_logprob", "least_margin", "concept_match", "relative_mahalanobis")


def reliability_diagrams(record: ConfidenceRecord) -> Figure:
    """Accuracy by confidence, in bins of equally many replies: a panel for each task and zone.

    On the grey line confidence is accuracy.
    """
    panels = list(dict.fromkeys((each.task, each.zone) for each in record.calibration))
    with mpl.rc_context(STYLE):
        figure, axes = make_panels(len(panels))
        for (task, zone), panel in zip(panels, axes, strict=True):
            cells = [each for each in record.cells if each.task == task and record.zone(task, each.length) == zone]
            right = np.concatenate([np.array(each.right) for each in cells])
            panel.plot([0, 1], [0, 1], color="lightgrey", label="calibrated")
            for name, label in (("sum_logprob", "temperature 1"), ("tempered_sum_logprob", "fitted temperature")):
                scores = np.concatenate([np.array(each.scores[name]) for each in cells]) / SCALE
                bins = reliability(np.exp(np.minimum(scores, 0)), right)
                marker = "o" if name == "sum_logprob" else "x"
                confidence, accuracy = [each.confidence for each in bins], [each.accuracy for each in bins]
                panel.plot(confidence, accuracy, marker, label=label)
            panel.set_title(plain(f"{task}, {zone.replace('_', '-')}"), parse_math=False, fontsize=9)
            panel.set(
                xlabel="probability of the reply",
                ylabel="share of right replies",
                xlim=(-0.03, 1.03),
                ylim=(-0.03, 1.03),
            )
            legend(panel, columns=3)
    return figure


def risk_curves(record: ConfidenceRecord) -> Figure:
    """The share of wrong replies among the most confident ones (risk): a panel for each cell with 5 to 95 % right."""
    cells = list(dict.fromkeys((each.task, each.length) for each in record.selection))
    with mpl.rc_context(STYLE):
        figure, axes = make_panels(len(cells))
        for (task, length), panel in zip(cells, axes, strict=True):
            cell = record.find(task, length)
            right = np.array(cell.right)
            coverage = 100 * np.arange(1, len(right) + 1) / len(right)
            for name in _DRAWN:
                risks = risk_by_coverage(np.array(cell.scores[name], dtype=np.float64), right)
                panel.plot(coverage, 100 * risks, label=name.replace("_", " "))
            panel.axhline(100 * float((~right).mean()), color="grey", linestyle=":", label="no choice")
            panel.set_title(plain(f"{task}, length {length}"), parse_math=False, fontsize=9)
            panel.set(xlabel="kept, the surest, in %", ylabel="wrong among them in %", xlim=(0, 100), ylim=(0, None))
            legend(panel, columns=2)
    return figure
