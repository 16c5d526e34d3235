"""`lgbench methods`: how training under an arm can be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgbench.cli._group import App
from lgbench.cli._options import AllJson, Quiet
from lgbench.cli._streams import showable

if TYPE_CHECKING:
    from lgbench.training.method import Method

app = App(help="List the methods that change how a model is trained, or explain one.", invoke_without_command=True)


@app.callback()
def list_methods(context: typer.Context, as_json: AllJson = False, quiet: Quiet = False) -> None:
    """List the methods that change how a model is trained, or explain one."""
    if context.invoked_subcommand is not None:
        return
    from lgbench.cli._tables import print_parts
    from lgbench.methods.registry import METHODS
    from lgbench.util.tables import Table
    from lgbench.util.text import json_text

    if as_json:
        typer.echo(json_text([_record(name, kind) for name, kind in METHODS.items()]))
        return
    rows = [(name, kind.division, kind.definition().partition("\n")[0]) for name, kind in METHODS.items()]
    print_parts([Table("", ("method", "division", "what it does"), rows, text=3)])
    if not quiet:
        typer.echo("Details: lgbench methods show NAME")


def _record(name: str, method: type[Method]) -> dict[str, Any]:
    return {
        "method": name,
        "division": method.division,
        "definition": method.definition(),
        "options": [{"option": option, "meaning": text} for option, text in method.described_options()],
    }


@app.command("show")
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="One of `lgbench methods`, or your own: FILE.py:CLASS.")],
    as_json: AllJson = False,
) -> None:
    """Print a method's definition, its division and its options."""
    from lgbench.cli._console import say
    from lgbench.cli._streams import stdout_to_stderr
    from lgbench.methods.registry import find_method
    from lgbench.util.text import json_text, plain

    with stdout_to_stderr():  # what the user's own file prints
        method = find_method(name)
    if as_json:
        typer.echo(json_text(_record(name, method)))
        return
    definition = method.definition() or "It has no docstring, which would be its definition."
    say(showable(f"{plain(name)}, division {method.division}\n\n{definition}\n\n"), reflow=True)
    for option, text in method.described_options():
        typer.echo(showable(f"  {plain(option)}"))
        say(showable(plain(text)), indent="      ", hanging="      ", most=110)
    if not method.model_fields:
        typer.echo("It has no options.")
