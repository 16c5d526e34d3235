"""Several systems in one picture: accuracy by length in the same arm, a panel for each group or main task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lgbench.data.groups import OPEN_ARM
from lgbench.plotting.canvas import STYLE, legend, make_panels
from lgbench.plotting.lengths import shade_zones
from lgbench.scoring.contestants import Field
from lgbench.scoring.styles import SYSTEM_STYLES
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

_LONGEST_LABEL = 40


def system_curves(fields: Sequence[Field], *, arm: str) -> Figure:
    """Accuracy of main tasks by length, a panel for each field: each seed thin, the mean of a system bold.

    A system has one colour in all panels. Where a group is known, its zones are shaded, with dashed lines at the
    training lengths; what models of arm `open` were trained on is not.

    Args:
        fields: The groups, or the main tasks of arm `open`, with the systems in them.
        arm: The arm.

    Raises:
        LgbenchError: There is no field, or there are more systems than styles.
    """
    if not fields:
        raise LgbenchError(f"None of these systems has complete runs of arm {arm!r}, so there is nothing to draw.")
    names = list(dict.fromkeys(name for field in fields for name in field.entries))
    if len(names) > len(SYSTEM_STYLES):
        raise LgbenchError(f"These are {len(names)} systems: a picture shows at most {len(SYSTEM_STYLES)}. Name fewer.")
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(fields))
        for field, axes in zip(fields, panels, strict=True):
            _draw(axes, field, names, arm)
    return figure


def _draw(axes: Axes, field: Field, names: Sequence[str], arm: str) -> None:
    if field.group is not None:
        shade_zones(axes, field.group)
    for name, entry in field.entries.items():
        color, dashes = SYSTEM_STYLES[names.index(name)]
        look: dict[str, Any] = {"color": color, "linestyle": (0, dashes) if dashes else "-"}
        for seed in entry.curve.seeds if entry.seeds > 1 else []:
            axes.plot(field.lengths, [float(100 * share) for share in seed], **look, linewidth=0.6, alpha=0.5)
        mean = [float(100 * share) for share in entry.curve.mean]
        shown = entry.curve.renamed(plain(name, limit=_LONGEST_LABEL))
        label = shown.name if arm == OPEN_ARM and entry.seeds == 1 else shown.label
        # A name that begins with an underscore would be missing from the legend, and dollars would be mathematics.
        label = label.replace("$", r"\$") if not label.startswith("_") else f" {label}".replace("$", r"\$")
        axes.plot(field.lengths, mean, **look, linewidth=2.0, marker="o", markersize=3, label=label)
    title = field.task if field.group is None else f"{field.name}: {field.task}, {arm}"
    axes.set(title=title, xlabel="length", ylabel="exact match in %", ylim=(-3, 113))
    axes.set_xticks(field.lengths)
    axes.set_yticks(range(0, 101, 20))
    legend(axes, columns=2)
