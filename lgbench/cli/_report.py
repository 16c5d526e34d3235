"""A result as a table for people and as a summary for programs."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from lgbench.cli._console import wide_console
from lgbench.cli._diagnosis import ends_by_length, wrong_ends
from lgbench.cli._streams import showable
from lgbench.cli._tables import blocks, print_table
from lgbench.data.groups import OPEN_ARM, ZONES
from lgbench.data.suites import Cell, load_suite
from lgbench.models.loaded import Model
from lgbench.results.schema import WRONG_ENDS, Result
from lgbench.scoring.display import percent
from lgbench.scoring.measures import (
    TaskSummary,
    ZoneSummary,
    counts_by_task,
    expected_cells,
    is_partial,
    open_score,
    summarize,
    zone_accuracy,
)
from lgbench.util.text import LONGEST_PATH, plain


def print_result(result: Result, folder: Path, *, diagnosis: str = "", lengths: bool = False) -> None:
    """Print the zones of each task with 95 % Wilson intervals, the horizons, and what else a reader should know.

    Args:
        result: The result.
        folder: Where it lies.
        diagnosis: What is systematically wrong, in a line; empty for nothing.
        lengths: Whether to print the accuracy at every length too. A result that lacks lengths of a task is always
            printed so: a zone has no accuracy without all of its lengths.
    """
    console = wide_console()
    print_table(_table(result))
    if lengths or _lacks_lengths(result):
        print_table(_by_length(result))
        if (ends := ends_by_length(result)).row_count:
            print_table(ends)
    for note in notes(result):
        console.print(plain(note, limit=LONGEST_PATH), markup=False, highlight=False, soft_wrap=not console.is_terminal)
    console.print(f"Result: {plain(folder, limit=LONGEST_PATH)}", markup=False, highlight=False, soft_wrap=True)
    if diagnosis:
        console.print(diagnosis, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def describe(model: Model) -> str:
    """A language model's size, place and prompt style in a line; empty for models of which nothing is known."""
    parts = []
    if model.system.parameters is not None:
        parts += [f"{model.system.parameters:,} parameters", model.device]
    if model.system.prompt is not None:
        parts.append(str(model.system.prompt))
    return ", ".join(parts)


def _table(result: Result) -> Table:
    where = result.suite + (" (a draft suite)" if result.draft else "")
    where += f", arm {result.arm}" + (f", group {result.group}" if result.group else "")
    where += f", seed {result.seed}" if result.seed is not None else ""
    revision = result.system.options.get("revision")
    model = result.system.model
    if revision:
        model = f"{model.removesuffix(f'@{revision}')}@{revision}"
    table = Table(
        title=escape(plain(f"{model} on {where}", limit=3000)),  # a stranger named it
        caption="Exact match in %, with its 95 % Wilson interval.",
        caption_justify="left",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    table.add_column("task", no_wrap=True)
    for heading in ("in-dist.", "transfer", "beyond", "H90", "H50"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("by length", no_wrap=True)
    for task in summarize(result):
        zones = [_zone(task.zones[zone]) for zone in ZONES]
        horizons = ["-" if each is None else showable(str(each)) for each in (task.horizon_90, task.horizon_50)]
        table.add_row(escape(plain(task.task)), *zones, *horizons, sparkline(task))
    return table


def _lacks_lengths(result: Result) -> bool:
    tasks, present = counts_by_task(result), {Cell(cell.task, cell.length) for cell in result.cells}
    return any(cell.task in tasks and cell not in present for cell in expected_cells(result))


def _by_length(result: Result) -> Table:
    counts = counts_by_task(result)
    lengths = sorted({length for of_task in counts.values() for length in of_task})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("exact match in %", no_wrap=True)
    for length in lengths:
        table.add_column(str(length), justify="right", no_wrap=True)
    for task, of_task in counts.items():
        shares = {length: each.accuracy for length, each in of_task.items()}
        table.add_row(escape(plain(task)), *(percent(shares[length]) if length in shares else "" for length in lengths))
    return table


def _zone(zone: ZoneSummary | None) -> str:
    if zone is None:
        return "-"
    return f"{percent(zone.accuracy)} [dim]{100 * zone.interval.low:.0f}-{100 * zone.interval.high:.0f}[/dim]"


def sparkline(task: TaskSummary) -> str:
    """One block for each length, ascending: the lowest only where nothing is right, the highest only where all is.

    The blocks between stand for equal parts of what lies between.
    """
    return blocks(task.accuracies.values())


def notes(result: Result) -> list[str]:
    """What a reader of the table must know beyond it, a line each."""
    correct = sum(cell.counts.correct for cell in result.cells)
    total = sum(cell.counts.total for cell in result.cells)
    lines = [f"{correct:,} of {total:,} replies are right. The model took {result.duration:,.1f} s."]
    if ends := wrong_ends(result):
        lines.append(ends)
    if (score := open_score(result)) is not None:
        lines.append(f"Open score (mean transfer-zone accuracy of the main tasks): {percent(score)} %.")
    if (accuracy := _main_transfer(result)) is not None:
        lines.append(f"Transfer-zone accuracy of the main task: {percent(accuracy)} %.")
    if (used := result.usage) is not None:
        lines.append(f"{used}.")
    for name, what in (
        ("cut", "Replies cut at 4096 characters"),
        ("capped", "Replies that the model's generation cap ended"),
        ("refused", "Replies that the server refused, which count as wrong"),
    ):
        if count := sum(getattr(cell.counts, name) for cell in result.cells):
            lines.append(f"{what}: {count:,}.")
    if (check := result.batch_invariance) is not None and check.changed:
        changed = f"{check.changed} of {check.checked} replies changed when asked again one by one."
        lines.append(f"{changed} If other prompts in the batch cause it, --batch-size 1 avoids it.")
    if result.limit is not None:
        lines.append(f"Limited to {result.limit} examples of each cell.")
    if is_partial(result):
        lines.append(f"Partial: {len(result.cells)} of the {len(expected_cells(result))} cells of its arm.")
    return lines


def _main_transfer(result: Result) -> Fraction | None:
    if result.group is None:
        return None
    return zone_accuracy(result, load_suite(result.suite, result.draft).group(result.group).main, "transfer")


def summary(result: Result, folder: Path) -> dict[str, Any]:
    """The content of `--json`. Accuracies are shares from 0 to 1; null where there is none."""
    score = open_score(result) if result.arm == OPEN_ARM else _main_transfer(result)
    return {
        "model": result.system.model,
        "suite": result.suite,
        "draft": result.draft is not None,
        "arm": result.arm,
        "group": result.group,
        "seed": result.seed,
        "limit": result.limit,
        "partial": is_partial(result),
        "correct": sum(cell.counts.correct for cell in result.cells),
        "total": sum(cell.counts.total for cell in result.cells),
        "score": None if score is None else float(score),
        "tasks": [_task_summary(task, result) for task in summarize(result)],
        "replies_sha256": result.replies_sha256,
        "output": str(folder),
    }


def _task_summary(task: TaskSummary, result: Result) -> dict[str, Any]:
    counts = {cell.length: cell.counts for cell in result.cells if cell.task == task.task}
    return {
        "task": task.task,
        "zones": {zone: _zone_summary(summary) for zone, summary in task.zones.items()},
        "horizon_90": None if task.horizon_90 is None else task.horizon_90.length,
        "horizon_50": None if task.horizon_50 is None else task.horizon_50.length,
        "lengths": [
            {"length": length} | {name: getattr(each, name) for name in ("correct", "total", *WRONG_ENDS)}
            for length, each in counts.items()
        ],
    }


def _zone_summary(zone: ZoneSummary | None) -> dict[str, Any] | None:
    if zone is None:
        return None
    return {
        "correct": zone.correct,
        "total": zone.total,
        "accuracy": float(zone.accuracy),
        "interval": [zone.interval.low, zone.interval.high],
    }
