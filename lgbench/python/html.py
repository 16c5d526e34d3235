"""What a notebook shows of results: curves as SVG and a table. Text of strangers is escaped."""

from __future__ import annotations

import html
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from lgbench.data.groups import ZONES, Group
from lgbench.data.suites import Suite, load_suite
from lgbench.leaderboard.svg import OF_THE_PAGE, draw
from lgbench.results.schema import Result
from lgbench.scoring.comparison import serving
from lgbench.scoring.curves import Curve, curve
from lgbench.scoring.display import NONE, percent
from lgbench.scoring.frames import result_frame
from lgbench.scoring.measures import TaskSummary, counts_by_task, summarize
from lgbench.scoring.styles import Style, arm_style
from lgbench.util.errors import LgbenchError
from lgbench.util.tables import Curve as DrawnCurve
from lgbench.util.tables import Table
from lgbench.util.text import plain

if TYPE_CHECKING:
    from lgbench.python import results

# Of the palette of Okabe and Ito, whose colours people with any colour vision tell apart.
_TASK_STYLES = (
    Style("#0072b2"),
    Style("#009e73"),
    Style("#d55e00", (2, 2)),
    Style("#56b4e9", (2, 2)),
    Style("#cc79a7"),
)
_MOST_ROWS = 60
_MOST_PICTURES = 7


def result_html(result: results.Result) -> str:
    """A result: what it is of, its main tasks by length, and its tasks by zone."""
    try:
        return _pictured(result)
    except LgbenchError as error:  # a draft suite that is not open, or a group that does not exist
        return f"<p>{html.escape(repr(result))}</p><p>{html.escape(plain(error))}</p>"


def _pictured(result: results.Result) -> str:
    suite, title = load_suite(result.suite, result.draft), _title(result)
    group = None if result.group is None else suite.group(result.group)
    drawn = _task_curves(result, suite, group)
    picture = _picture(drawn, title, _zones_of(drawn, group)) if drawn else ""
    caption = "Exact match in % by zone" if picture else f"{title}: exact match in % by zone"
    rows = [_zone_row(task) for task in summarize(result)]
    return picture + table_html(("task", "in-dist.", "transfer", "beyond", "H90", "H50"), rows, caption=caption)


def results_html(found: results.Results) -> str:
    """Several results: a row for each, and for each group of a single system its arms by length."""
    if not found:
        return "<p>No results.</p>"
    try:
        frame = result_frame([each.labelled for each in found], "runs").head(_MOST_ROWS)
        pictures = "".join(_group_pictures(found))
    except LgbenchError as error:
        return f"<p>{html.escape(repr(found))}</p><p>{html.escape(plain(error))}</p>"
    columns = ("suite", "system", "arm", "group", "seed", "in_distribution", "transfer", "beyond", "horizon_90")
    rows = [[_cell(name, row[name]) for name in columns] for row in frame.to_dict("records")]
    more = f"; the first {_MOST_ROWS} of them" if len(found) > _MOST_ROWS else ""
    return pictures + table_html(columns, rows, caption=f"{repr(found)[1:-1]}{more}", text=4)


def _cell(name: str, value: object) -> str:
    if value is None or value != value or str(value) == "<NA>":
        return "-"
    return percent(float(str(value))) if name in ("in_distribution", "transfer", "beyond") else str(value)


def _title(result: results.Result) -> str:
    where = f"{result.suite}, arm {result.arm}" + (f", group {result.group}" if result.group else "")
    seed = "" if result.seed is None else f", seed {result.seed}"
    return plain(f"{result.label} on {where}{seed}", limit=150)


def _task_curves(result: Result, suite: Suite, group: Group | None) -> list[tuple[Curve, Style]]:
    """The curves of the tasks of a group, or of an open result's main tasks that it holds, or of all of its tasks."""
    counts = counts_by_task(result)
    wanted = group.tasks if group is not None else suite.main_tasks
    tasks = [task for task in wanted if len(counts.get(task, ())) > 1] or [t for t in counts if len(counts[t]) > 1]
    drawn = [curve(task, [result], task, sorted(counts[task])) for task in tasks[: len(_TASK_STYLES)]]
    return list(zip(drawn, itertools.cycle(_TASK_STYLES), strict=False))


def _zones_of(drawn: Sequence[tuple[Curve, Style]], group: Group | None) -> Group | None:
    """The group, if the curves have its whole grid, without which its zones have other borders."""
    return group if group is not None and all(each.lengths == group.grid for each, _ in drawn) else None


def _group_pictures(found: results.Results) -> list[str]:
    """A picture for each group of trained runs, if they are of one system on one suite; else none."""
    trained = [each for each in found if each.group is not None and each.limit is None]
    seeds = [(each.group, each.arm, each.seed) for each in trained]
    if len({(each.suite, each.label) for each in trained}) != 1 or len(set(seeds)) < len(seeds):
        return []
    suite = load_suite(trained[0].suite, trained[0].draft)
    named = {each.group for each in trained}
    groups = [group for group in suite.groups if group.name in named]
    return [_arms_picture(trained, suite, group) for group in groups[:_MOST_PICTURES]]


def _arms_picture(found: Sequence[Result], suite: Suite, group: Group) -> str:
    return arms_picture({arm.name: serving(found, suite, arm.name, group) for arm in group.arms}, suite, group)


def arms_picture(arms: Mapping[str, Iterable[Result]], suite: Suite, group: Group) -> str:
    """The main task of a group by length, under each arm that has a run of all lengths; empty where none has.

    Args:
        arms: The runs of each arm.
        suite: The suite.
        group: The group.
    """
    drawn = []
    for arm, found in arms.items():
        if own := [each for each in found if _is_whole(each, group)]:
            drawn.append((curve(arm, own, group.main, group.grid), arm_style(group.arms, arm)))
    title = f"{group.name} on {suite.name}: exact match of {group.main} in %"
    return _picture(drawn, title, group) if drawn else ""


def _is_whole(result: Result, group: Group) -> bool:
    return set(group.grid) <= set(counts_by_task(result).get(group.main, ()))


def _picture(drawn: Sequence[tuple[Curve, Style]], title: str, group: Group | None) -> str:
    shares = "; ".join(f"{each.label}: {', '.join(map(percent, each.mean))}" for each, _ in drawn)
    return draw(drawn, title=title, description=f"{title}. {shares}", group=group, paper=OF_THE_PAGE)


def parts_html(parts: Sequence[Table | str]) -> str:
    """A report: its tables, and its lines as paragraphs. Drawn curves are left out."""
    blocks = []
    for part in parts:
        if isinstance(part, str):
            style = " style='margin: 0 0 0 2em'" if part.startswith("  ") else ""
            blocks += [f"<p{style}>{html.escape(plain(part))}</p>"] if part else []
            continue
        width = len(part.columns) - any(isinstance(row[-1], DrawnCurve) for row in part.rows)
        rows = [["-" if cell is None else str(cell) for cell in row[:width]] for row in part.rows]
        blocks.append(table_html(part.columns[:width], rows, caption=part.title, text=part.text))
    return "".join(blocks)


def _zone_row(task: TaskSummary) -> list[str]:
    zones = [task.zones[zone] for zone in ZONES]
    horizons = [NONE if each is None else str(each) for each in (task.horizon_90, task.horizon_50)]
    return [task.task, *(percent(None if each is None else each.accuracy) for each in zones), *horizons]


def table_html(columns: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str, text: int = 1) -> str:
    """An HTML table below its caption, all of it escaped.

    Args:
        columns: The headings.
        rows: A text for each column; spaces that one begins with are kept.
        caption: What the table shows; empty for nothing.
        text: How many of the first columns are aligned to the left. Notebooks differ in what they do unless they are
            told.
    """

    def cells(tag: str, row: Sequence[str]) -> str:
        aligned = ["left" if number < text else "right" for number in range(len(row))]
        breaks = "; white-space: nowrap" if tag == "td" else ""  # no interval is broken
        return "".join(
            f"<{tag} style='padding: 0.1em 0.5em; text-align: {align}{breaks}'>{_kept_spaces(cell)}</{tag}>"
            for cell, align in zip(row, aligned, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    above = f"<p style='margin: 1em 0 0.3em'>{html.escape(plain(caption))}</p>" if caption else ""
    return f"{above}<table><thead><tr>{cells('th', columns)}</tr></thead><tbody>{body}</tbody></table>"


def _kept_spaces(cell: str) -> str:
    shown = plain(cell)
    return "&nbsp;" * (len(cell) - len(cell.lstrip(" "))) + html.escape(shown.lstrip(" "))
