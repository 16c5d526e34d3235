"""The table and the picture of `lgbench analyze relatedness`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lgbench.analysis.relatedness_record import RelatednessRecord
from lgbench.util.tables import Table
from lgbench.util.text import plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def tabulate_relatedness(record: RelatednessRecord) -> list[Table | str]:
    """A row for each pair of tasks."""
    rows = []
    for each in record.relations:
        alignment = None if each.alignment is None else " ".join(f"{value:.2f}" for value in each.alignment)
        shown = [f"{each.gradient_cosine:.2f} ({each.gradient_ceiling:.2f})"]
        shown += [f"{each.affinity:+.3f} ({each.affinity_back:+.3f})", f"{each.head_maps:.2f}"]
        rest = [None if value is None else f"{value:.2f}" for value in (each.attention, each.least_mixed)]
        rows.append([each.first, each.second, *shown, alignment, *rest])
    columns = [
        *("first", "second", "gradient cosine (ceiling)", "affinity (back)", "head maps"),
        *("CKA by layer", "attention apart", "mixed tags"),
    ]
    lengths = ", ".join(map(str, record.lengths))
    return [
        Table(f"How alike two tasks are to the model, at lengths {lengths}", columns, rows, text=2),
        "Mixed tags: the least share of examples with one of the two targets right while the tag goes from one task's "
        "to the other's. None of these is a prediction of transfer until it is compared with measured transfer.",
    ]


def tag_mixtures(record: RelatednessRecord) -> Figure:
    """What is right while the tag goes from one task's to another's: a panel for each pair on the same prompts."""
    import matplotlib as mpl

    from lgbench.plotting.canvas import STYLE, legend, make_panels

    pairs = [each for each in record.relations if each.mixtures is not None]
    with mpl.rc_context(STYLE):
        figure, panels = make_panels(len(pairs))
        for each, axes in zip(pairs, panels, strict=True):
            mixtures = each.mixtures or ()
            shares = [mixed.second_share for mixed in mixtures]
            axes.plot(shares, [100 * mixed.first_right for mixed in mixtures], marker=".", label=plain(each.first))
            axes.plot(shares, [100 * mixed.second_right for mixed in mixtures], marker=".", label=plain(each.second))
            axes.set_title(plain(f"{each.first} and {each.second}"), parse_math=False, fontsize=9)
            axes.set(xlabel="share of the second tag", ylabel="right in %", xlim=(-0.03, 1.03), ylim=(-3, 103))
            legend(axes, columns=2, title="target of")
    return figure
