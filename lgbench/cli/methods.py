"""`lgbench methods`: how training under an arm can be changed."""

from __future__ import annotations

import textwrap
from typing import Annotated

import typer

from lgbench.cli._group import Group
from lgbench.cli._streams import showable

app = typer.Typer(
    cls=Group, help="List the methods that change how a model is trained, or explain one.", invoke_without_command=True
)


@app.callback()
def list_methods(context: typer.Context) -> None:
    """List the methods that change how a model is trained, or explain one."""
    if context.invoked_subcommand is not None:
        return
    from lgbench.cli._report import print_parts
    from lgbench.methods.registry import METHODS
    from lgbench.util.tables import Table

    rows = [(name, kind.division, kind.definition().partition("\n")[0]) for name, kind in METHODS.items()]
    print_parts([Table("", ("method", "division", "what it does"), rows, text=3)])
    typer.echo("More of one: lgbench methods show NAME")


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `lgbench methods`, or your own: FILE.py:CLASS.")],
) -> None:
    """Print a method's definition, its division and its options."""
    from lgbench.cli._streams import stdout_to_stderr
    from lgbench.methods.registry import find_method
    from lgbench.util.text import plain

    with stdout_to_stderr():  # what the user's own file prints
        method = find_method(name)
    lines = [f"{plain(name)}, division {method.division}", "", *method.definition().splitlines(), ""]
    for option, text in method.described_options():
        lines.append(f"  {plain(option)}")
        lines += textwrap.wrap(plain(text), 110, initial_indent="      ", subsequent_indent="      ")
    typer.echo(showable("\n".join([*lines, "" if method.model_fields else "It has no options."]).rstrip()))
