"""The tables of `lgbench analyze heads`, as data."""

from __future__ import annotations

from lgbench.analysis.heads import HeadsRecord
from lgbench.util.tables import Table


def tabulate_heads(record: HeadsRecord) -> list[Table | str]:
    """The heads that each task needs most at each length, and the two measures between tasks."""
    parts: list[Table | str] = [_most(record), _distances(record)]
    if any(not record.learned(each.task, each.length) for each in record.maps):
        parts.append(
            "* Not learned: under 90 % of the targets are right. What cannot be lost is not seen in the map of exact "
            "match there, so that the tasks look different; compare log-probabilities."
        )
    return parts


def _most(record: HeadsRecord) -> Table:
    rows = []
    for each in record.maps:
        drops = each.drops("logprob")
        heads = [(drop, f"{layer}.{head}") for layer, row in enumerate(drops) for head, drop in enumerate(row)]
        exact = each.drops("exact")
        lost = {f"{layer}.{head}": 100 * drop for layer, row in enumerate(exact) for head, drop in enumerate(row)}
        most = sorted(heads, reverse=True)[:4]
        shown = ", ".join(f"{name} ({lost[name]:.0f})" for _, name in most)
        right = f"{100 * each.right / each.examples:.0f}" + ("" if record.learned(each.task, each.length) else "*")
        rows.append([each.task, each.ablation, each.length, right, shown])
    columns = ["task", "ablation", "length", "right in %", "layer.head that costs most (points of exact match lost)"]
    return Table("Heads that each task needs most, by log-probability", columns, rows, text=2)


def _distances(record: HeadsRecord) -> Table:
    lengths = sorted({each.length for each in record.maps})
    found = record.distances()
    rows = []
    if len(found):
        keys = ["first", "second", "measure", "ablation", "metric"]
        for names, part in found.groupby(keys, sort=False, dropna=False):
            first, second, *measure = names
            marks = {
                int(length): f"{distance:.3f}" + ("" if learned else "*")
                for length, distance, learned in zip(part["length"], part["distance"], part["learned"], strict=True)
            }
            words = " ".join(str(word).replace("_", " ") for word in measure if isinstance(word, str))
            rows.append([first, second, words, *(marks.get(length) for length in lengths)])
    title = "How far two tasks are apart (lower is more alike), by length"
    return Table(title, ["first", "second", "measure", *map(str, lengths)], rows, text=3)
