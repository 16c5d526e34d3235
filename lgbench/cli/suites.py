"""`lgbench suites`: what the suites hold, and the hashes that pin them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgbench.cli._group import App
from lgbench.cli._opening import opened
from lgbench.cli._options import AllJson, Quiet, SuiteName
from lgbench.cli._streams import showable
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.data.groups import Group
    from lgbench.data.suites import Suite

app = App(help="List the suites, show one, or lock their test cells.", invoke_without_command=True)


@app.callback()
def list_suites(context: typer.Context, as_json: AllJson = False, quiet: Quiet = False) -> None:
    """List the suites, show one, or lock their test cells."""
    if context.invoked_subcommand is not None:
        return
    from lgbench.data.suites import SUITES
    from lgbench.util.text import json_text

    if as_json:
        typer.echo(json_text([_record(suite) for suite in SUITES]))
        return
    for suite in SUITES:
        cells = len(suite.cells())
        typer.echo(
            f"{suite.name}: {len(suite.groups)} groups, {len(suite.tasks)} tasks, {cells} cells of "
            f"{suite.examples_per_cell} examples ({cells * suite.examples_per_cell:,} in all)"
        )
    if not quiet:
        typer.echo("Details: lgbench suites show NAME")


@app.command("show")
def show(
    name: Annotated[str | None, typer.Argument(help="The suite.", show_default="that of --suite")] = None,
    suite: SuiteName = "mini-v1",
    as_json: AllJson = False,
) -> None:
    """Print a suite's groups, their arms, lengths and cell counts."""
    from lgbench.cli._console import say
    from lgbench.util.text import json_text

    found = opened(name or suite)
    if as_json:
        typer.echo(json_text(_record(found) | {"groups": [_group_record(found, group) for group in found.groups]}))
        return
    for group in found.groups:
        cells = ", ".join(f"{arm.name} {len(found.cells(arm.name, [group.name]))}" for arm in group.arms)
        auxiliaries = ", ".join(f"{task} ≤ {group.aux_length}" for task in group.auxiliaries)
        typer.echo(
            showable(f"""{group.name}
  main task    {group.main} ≤ {group.main_length}
  auxiliaries  {auxiliaries}
  control      {group.control} ≤ {group.aux_length}
  lengths      {", ".join(map(str, group.grid))}
  cells        {cells}
""")
        )
    say(showable("Arms, each trained for the same number of examples (≤: greatest training length)"))
    width = max(len(arm.name) for arm in found.arms)
    described = {
        arm.name: arm.summary + (f"; its gain is against {arm.baseline}" if arm.baseline else "") for arm in found.arms
    }
    described["open"] = "not trained under an arm: every task at every length of its groups"
    for name, text in described.items():
        say(showable(f"{name:{width}}  {text}"), indent="  ", hanging=" " * (width + 4))
    count, size = len(found.cells()), found.examples_per_cell
    say(f"A cell is a task at a length, {size} examples. Open has {count} cells ({count * size:,} examples).")


def _record(suite: Suite) -> dict[str, Any]:
    return {
        "suite": suite.name,
        "groups": len(suite.groups),
        "tasks": len(suite.tasks),
        "cells": len(suite.cells()),
        "examples_per_cell": suite.examples_per_cell,
    }


def _group_record(suite: Suite, group: Group) -> dict[str, Any]:
    return {
        "group": group.name,
        "main": group.main,
        "main_length": group.main_length,
        "auxiliaries": list(group.auxiliaries),
        "aux_length": group.aux_length,
        "control": group.control,
        "lengths": list(group.grid),
        "cells": {arm.name: len(suite.cells(arm.name, [group.name])) for arm in group.arms},
    }


@app.command("lock")
def lock(
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the committed hashes and write nothing.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Draw every test cell of every suite again and write its SHA-256 to lgbench/data/locks/, or compare."""
    from lgbench.cli._progress import counting
    from lgbench.data.cells import derive_lock, lock_path, lock_text
    from lgbench.data.suites import SUITES
    from lgbench.util.files import write_atomically

    for suite in SUITES:
        with counting(f"drawing cells of {suite.name}", quiet=quiet) as report:
            path, text = lock_path(suite), lock_text(derive_lock(suite, report))
        committed = path.read_text("ascii") if path.exists() else ""
        if check and text != committed:
            drifted = sorted(set(text.splitlines()) ^ set(committed.splitlines()))
            lines = "\n".join(line.strip() for line in drifted[:10])
            raise LgbenchError(
                f"The test cells of {suite.name} are not the committed ones. Lines that differ:\n{lines}"
            )
        if text != committed:
            write_atomically(path, text.encode("ascii"))
        if quiet:
            continue
        done = "match the committed hashes" if text == committed else f"written to {path}"
        typer.echo(f"{suite.name}: {len(suite.cells())} cells {done}.")
