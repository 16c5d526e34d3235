"""The tables of `lgbench analyze errors`, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lgbench.analysis.kinds import ENDINGS, KINDS
from lgbench.util.tables import Table
from lgbench.util.text import plain

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.analysis.errors import ErrorsRecord

_BY = ["group", "arm", "task", "zone"]
_LONGEST_CHAIN = 6


def tabulate_errors(record: ErrorsRecord) -> list[Table]:
    """Endings, kinds, jumps, carries and lengths of targets, summed over lengths of a zone and over seeds."""
    cells = record.frame()
    tables = [
        _counted(cells, ENDINGS, "How wrong replies end"),
        _counted(cells, KINDS, "What their first wrong symbol is"),
        _jumps(cells),
        _carries(record.chains()),
        _targets(record.targets()),
    ]
    return [table for table in tables if table.rows]


def _grouped(frame: pd.DataFrame, *more: str) -> list[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Rows by group, arm, task and zone, in the order of the record."""
    parts = frame.groupby([*_BY, *more], sort=False, dropna=False)
    return [(names, rows) for names, rows in parts if isinstance(names, tuple)]


def _named(names: tuple[Any, ...]) -> list[str]:
    group, arm, task, zone = names[:4]
    trained = arm if group != group or group is None else f"{group}, {arm}"  # of arm open the group is missing
    return [plain(trained), plain(task), zone.replace("_", "-")]


def _counted(cells: pd.DataFrame, columns: Any, title: str) -> Table:
    present = [name for name in columns if cells[name].sum()]
    rows = []
    for names, part in _grouped(cells):
        wrong = int((part["total"] - part["correct"]).sum())
        if wrong:
            counts = [int(part[name].sum()) for name in present]
            rows.append([*_named(names), int(part["total"].sum()), wrong, *(count or "" for count in counts)])
    headings = [name.replace("_", " ") for name in present]
    return Table(title, ["trained", "task", "zone", "replies", "wrong", *headings], rows, text=3)


def _jumps(cells: pd.DataFrame) -> Table:
    rows = []
    for names, part in _grouped(cells[cells["behind_repeat"].fillna(0) > 0]):
        behind, jumps = int(part["behind_repeat"].sum()), int(part["jump"].sum())
        rows.append([*_named(names), behind, jumps, _percent(jumps, behind)])
    columns = ["trained", "task", "zone", "errors behind a repeated letter", "jumps", "in %"]
    return Table("Does the reply continue with what follows another occurrence of the letter?", columns, rows, text=3)


def _carries(chains: pd.DataFrame) -> Table:
    rows = []
    if len(chains):
        shown = chains.assign(chain=chains["chain"].clip(upper=_LONGEST_CHAIN))
        for names, part in _grouped(shown):
            summed = part.groupby("chain")[["reached", "wrong"]].sum()
            by_chain = {at: (reached, wrong) for at, reached, wrong in summed.itertuples()}
            shares = [
                _percent(by_chain[at][1], by_chain[at][0]) if at in by_chain else None
                for at in range(_LONGEST_CHAIN + 1)
            ]
            if any(wrong for _, wrong in by_chain.values()):
                rows.append([*_named(names), *shares])
    lengths = [*map(str, range(_LONGEST_CHAIN)), f"{_LONGEST_CHAIN}+"]
    title = "Digits that are wrong, in % of those with all before them right, by the positions that the carry travelled"
    return Table(title, ["trained", "task", "zone", *lengths], rows, text=3)


def _targets(targets: pd.DataFrame) -> Table:
    """Where the length does not decide how long a target is: mazes, products and recalls."""
    varied = targets.groupby(["task", "length"])["symbols"].transform("nunique") > 1
    shown = targets[varied]
    lengths = sorted(shown["symbols"].unique().tolist())
    bins = [(low, high) for low, high in ((1, 2), (3, 4), (5, 6), (7, 8), (9, 12), (13, 16), (17, 24), (25, 10**9))]
    bins = [each for each in bins if any(each[0] <= length <= each[1] for length in lengths)]
    rows = []
    for names, part in _grouped(shown):
        shares = []
        for low, high in bins:
            here = part[part["symbols"].between(low, high)]
            shares.append(_percent(int(here["correct"].sum()), int(here["total"].sum())) if len(here) else None)
        rows.append([*_named(names), *shares])
    headings = [f"{low}-{high}" if high < 10**9 else f"{low}+" for low, high in bins]
    return Table(
        "Right replies in %, by characters or nodes of the target", ["trained", "task", "zone", *headings], rows, text=3
    )


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f}"
