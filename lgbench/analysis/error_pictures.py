"""Pictures of what goes wrong: kinds of errors by length."""

from __future__ import annotations

from collections import Counter
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from lgbench.analysis.errors import CellErrors, ErrorsRecord
from lgbench.analysis.kinds import KINDS
from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

_COLORS = mpl.colormaps["tab20"].colors  # type: ignore[attr-defined]


def error_kinds(record: ErrorsRecord) -> Figure:
    """Wrong replies by length, stacked by kind, in % of all replies: a panel for each arm and task, seeds together.

    Raises:
        LgbenchError: No reply is wrong.
    """
    panels: dict[tuple[str, str, str], list[CellErrors]] = {}
    for run in record.runs:
        for cell in run.cells:
            panels.setdefault((run.group or "", run.arm, cell.task), []).append(cell)
    panels = {key: cells for key, cells in panels.items() if any(cell.kinds for cell in cells)}
    if not panels:
        raise LgbenchError("No reply is wrong, so there is no error to draw.")
    with mpl.rc_context(STYLE):
        figure, axes = make_panels(len(panels))
        for ((group, arm, task), cells), panel in zip(panels.items(), axes, strict=True):
            _draw(panel, cells)
            panel.set_title(plain(f"{group} {arm}: {task}".strip()), parse_math=False, fontsize=9)
    return figure


def _draw(axes: Any, cells: list[CellErrors]) -> None:
    lengths = sorted({cell.length for cell in cells})
    totals = Counter[int]()
    for cell in cells:
        totals[cell.length] += cell.total
    below = [0.0] * len(lengths)
    for number, kind in enumerate(KINDS):
        counts = Counter[int]()
        for cell in cells:
            counts[cell.length] += cell.kinds.get(kind, 0)
        if not counts.total():
            continue
        shares = [100 * counts[length] / totals[length] for length in lengths]
        label = kind.replace("_", " ")
        axes.bar(range(len(lengths)), shares, bottom=below, color=_COLORS[number], label=label, width=0.8)
        below = [low + share for low, share in zip(below, shares, strict=True)]
    axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    axes.set(xlabel="length", ylabel="wrong replies in %", ylim=(0, 103))
    legend(axes, columns=3)
