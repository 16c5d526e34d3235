"""`lgbench tasks`: what the tasks are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgbench.cli._group import App
from lgbench.cli._opening import opened
from lgbench.cli._options import AllJson, Quiet, SuiteName

if TYPE_CHECKING:
    from lgbench.data.suites import Suite
    from lgbench.data.task import Task

app = App(help="List the tasks, or show examples of one.", invoke_without_command=True)


@app.callback()
def list_tasks(
    context: typer.Context, suite: SuiteName = "mini-v1", as_json: AllJson = False, quiet: Quiet = False
) -> None:
    """List the tasks, or show examples of one."""
    if context.invoked_subcommand is not None:
        return
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    from lgbench.cli._console import wide_console
    from lgbench.util.text import json_text

    found = opened(suite)
    if as_json:
        typer.echo(json_text([_record(found, task) for task in found.tasks]))
        return
    example = Column("example", overflow="fold")
    groups = Column("groups (* its main task)", overflow="fold")
    table = Table("task", example, groups, box=box.SIMPLE_HEAD, pad_edge=False)
    for task in found.tasks:
        homes = [group for group in found.groups if task.name in group.tasks]
        names = ", ".join(f"{group.name}{'*' if group.main == task.name else ''}" for group in homes)
        table.add_row(task.name, Text(f"{task.example} {task.solve(task.example)}"), names)
    wide_console().print(table)
    if not quiet:
        typer.echo("Details: lgbench tasks show NAME")


def _record(suite: Suite, task: Task) -> dict[str, Any]:
    return {
        "task": task.name,
        "version": task.version,
        "instruction": task.instruction,
        "example": {"prompt": task.example, "target": task.solve(task.example)},
        "groups": [group.name for group in suite.groups if task.name in group.tasks],
        "main_of": [group.name for group in suite.groups if group.main == task.name],
    }


@app.command("show")
def show(
    task: Annotated[str, typer.Argument(help="The task's name.")],
    length: Annotated[int, typer.Option(help="The length of the examples.", min=1, max=1000)] = 5,
    count: Annotated[int, typer.Option(help="Number of examples.", min=1, max=16)] = 5,
    suite: SuiteName = "mini-v1",
    as_json: AllJson = False,
) -> None:
    """Print what a task is, and examples of it (from the few-shot split, never from the test cells)."""
    from lgbench.data.cells import draw_cell
    from lgbench.util.text import json_text

    found = opened(suite)
    definition = found.task(task)
    examples = draw_cell(found, task, length, split="shots")[:count]
    if as_json:
        pairs = [{"prompt": each.prompt, "target": each.target} for each in examples]
        typer.echo(json_text(_record(found, definition) | {"length": length, "examples": pairs}))
        return
    typer.echo(f"{task}, version {definition.version}\n{definition.instruction}\n")
    for example in examples:
        typer.echo(f"{example.prompt}\n  {example.target}")
