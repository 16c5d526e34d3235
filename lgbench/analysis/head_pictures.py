"""Pictures of head maps: layers by heads, side by side for the tasks of a model."""

from __future__ import annotations

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.analysis.ablation import Ablation
from lgbench.analysis.heads import HeadsRecord, Metric
from lgbench.plotting.canvas import STYLE
from lgbench.util.text import plain

_WORDS = {"exact": "right targets lost, in points", "logprob": "log-probability lost, in nats a token"}


def head_maps(record: HeadsRecord, ablation: Ablation, metric: Metric) -> Figure:
    """What is lost without each head: a row of panels for each length, a column for each task (the paper's Figure 17).

    Args:
        record: Of one model.
        ablation: What heads are replaced by.
        metric: `exact` or `logprob`.
    """
    lengths = sorted({each.length for each in record.maps})
    scale = 100 if metric == "exact" else 1
    drops = {
        (each.task, each.length): [[scale * drop for drop in layer] for layer in each.drops(metric)]
        for each in record.maps
        if each.ablation == ablation
    }
    top = max(1e-9, *(drop for rows in drops.values() for layer in rows for drop in layer))
    wide, high = 0.55 * record.source.heads + 1.0, 0.42 * record.source.layers + 0.8
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(wide * len(record.tasks) + 1.2, high * len(lengths)), layout="constrained")
        grid = figure.subplots(len(lengths), len(record.tasks), squeeze=False)
        for row, length in zip(grid, lengths, strict=True):
            for axes, task in zip(row, record.tasks, strict=True):
                values = drops[task, length]
                image = axes.imshow(values, cmap="Blues", vmin=0, vmax=top, aspect="auto")
                for layer, heads in enumerate(values):
                    for head, drop in enumerate(heads):
                        color = "white" if drop > 0.6 * top else "black"
                        text = f"{drop:z.0f}" if metric == "exact" else f"{drop:z.2f}"
                        axes.text(head, layer, text, ha="center", va="center", fontsize=7, color=color)
                learned = "" if record.learned(task, length) else " (not learned)"
                axes.set_title(f"{plain(task)}, length {length}{learned}", parse_math=False, fontsize=8)
                axes.set_xticks(range(record.source.heads))
                axes.set_yticks(range(record.source.layers))
                axes.tick_params(length=0)
                axes.spines[:].set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("layer")
        for axes in grid[-1]:
            axes.set_xlabel("head")
        figure.colorbar(image, ax=grid, label=f"{_WORDS[metric]} ({ablation} ablation)")
    return figure
