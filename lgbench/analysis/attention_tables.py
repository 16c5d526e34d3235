"""The tables of `lgbench analyze attention`, as data."""

from __future__ import annotations

from lgbench.analysis.attention import AttentionRecord
from lgbench.util.tables import Table


def tabulate_attention(record: AttentionRecord) -> list[Table | str]:
    """For each task and length, how much the head that looks most at the sources does so, inside and beyond."""
    rows = []
    for each in record.shares:
        trained = record.source.tasks[each.task]
        layer, head = record.best(each.task)
        shares = [each.mean((layer, head), inside=trained), each.mean((layer, head), beyond=trained)]
        even = [each.mean_uniform(inside=trained), each.mean_uniform(beyond=trained)]
        mixed = (value for pair in zip(shares, even, strict=True) for value in pair)
        shown = [None if value is None else f"{100 * value:.0f}" for value in mixed]
        rows.append([each.task, f"{layer}.{head}", trained, each.length, *shown])
    columns = ["task", "layer.head", "trained to", "length", "inside", "(even)", "beyond", "(even)"]
    title = (
        "Attention on the right source, in %, of the head that looks most at it in distribution;\n"
        "inside and beyond: positions of the target up to the training length and behind it; even: if spread evenly"
    )
    parts: list[Table | str] = [Table(title, columns, rows, text=2)] if rows else []
    if without := [task for task in record.tasks if all(each.task != task for each in record.shares)]:
        parts.append(
            f"Of {', '.join(without)} it is not known where each token of the target comes from, or the model reads "
            "several characters as one token."
        )
    return parts
