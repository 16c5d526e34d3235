"""Pictures of attention: patterns of single prompts, and the share on the right source by position."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.analysis.attention import AttentionRecord, Pattern
from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.util.text import plain


def attention_pattern(pattern: Pattern) -> Figure:
    """The attention of each head on a prompt and its target, a panel for each head: who looks down, at what across."""
    layers = sorted({layer for layer, _ in pattern.heads})
    columns = max(sum(layer == each for each, _ in pattern.heads) for layer in layers)
    size = 0.9 + 0.095 * len(pattern.tokens)
    labels = [plain(text, limit=24) for text in pattern.tokens]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(columns * size + 0.8, len(layers) * size + 0.4), layout="constrained")
        grid = figure.subplots(len(layers), columns, squeeze=False)
        image: Any = None
        lowest: dict[int, Any] = {}
        for row, layer in zip(grid, layers, strict=True):
            of_layer = [at for at, head in enumerate(pattern.heads) if head[0] == layer]
            for axes in row[len(of_layer) :]:
                axes.remove()
            for column, (axes, at) in enumerate(zip(row, of_layer, strict=False)):
                image, lowest[column] = _draw(axes, pattern, at), axes
            _label(row[0].yaxis, labels)
        for axes in lowest.values():
            _label(axes.xaxis, labels, rotation=90)
        figure.supxlabel("token that is looked at", fontsize=8)
        figure.supylabel("token that looks", fontsize=8)
        title = plain(f"{pattern.task}: {pattern.prompt}{pattern.target}", limit=200)
        figure.suptitle(title, parse_math=False, fontsize=9)
        figure.colorbar(image, ax=grid, label="attention", shrink=0.6)
    return figure


def _label(axis: Any, labels: list[str], **turned: Any) -> None:
    axis.set_ticks(range(len(labels)), labels, fontsize=5, parse_math=False, **turned)
    axis.set_tick_params(length=0, pad=1)


def _draw(axes: Any, pattern: Pattern, at: int) -> Any:
    time = len(pattern.tokens)
    square = [[*row, *[0.0] * (time - len(row))] for row in pattern.weights[at]]
    image = axes.imshow(square, cmap="Blues", vmin=0, vmax=1)
    layer, head = pattern.heads[at]
    axes.set_title(f"head {layer}.{head}", fontsize=8)
    for line in (axes.axhline, axes.axvline):  # what writes the target looks below the line
        line(pattern.start - 1.5, color="grey", linewidth=0.5)
    axes.set(xticks=[], yticks=[])
    return image


def source_shares(record: AttentionRecord) -> Figure:
    """The share of attention on the right source by position of the target: a panel for each task, a line a length.

    Of the head that looks most at the sources in distribution; dotted, attention that is spread evenly; grey, where the
    task was trained to.
    """
    tasks = list(dict.fromkeys(each.task for each in record.shares))
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(tasks))
        for task, axes in zip(tasks, panels, strict=True):
            layer, head = record.best(task)
            lengths = [each for each in record.shares if each.task == task]
            shades = mpl.colormaps["viridis"]
            for number, each in enumerate(lengths):
                color = shades(0.9 * number / max(1, len(lengths) - 1))
                positions = range(1, len(each.uniform) + 1)
                share = [_percent(value) for value in each.share[layer][head]]
                axes.plot(positions, share, color=color, marker=".", label=str(each.length))
                axes.plot(positions, [_percent(value) for value in each.uniform], color=color, linestyle=":")
            axes.plot([], [], color="black", linestyle=":", label="spread evenly")
            axes.axvline(record.source.tasks[task] + 0.5, color="grey", linewidth=0.8, label="trained to here")
            axes.set_title(plain(f"{task}, head {layer}.{head}"), parse_math=False, fontsize=9)
            axes.set(xlabel="position in the target", ylabel="attention on the source in %", ylim=(-3, 103))
            legend(axes, columns=4, title="length")
    return figure


def _percent(share: float | None) -> float:
    return float("nan") if share is None else 100 * share
