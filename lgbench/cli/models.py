"""`lgbench models`: the kinds of models that can be evaluated here."""

from __future__ import annotations

import typer

from lgbench.cli._options import AllJson, Quiet
from lgbench.cli._streams import showable
from lgbench.util.text import plain


def command(as_json: AllJson = False, quiet: Quiet = False) -> None:
    """List the kinds of models that MODEL can name, with their model options and the package they come from.

    An option without a default, such as `path: str`, must be given.
    """
    from lgbench.cli._console import say
    from lgbench.models.listing import ModelKind, kinds_of_models
    from lgbench.util.text import json_text

    if as_json:
        typer.echo(json_text([kind._asdict() for kind in kinds_of_models()]))
        return

    def show(kind: ModelKind) -> None:
        source = "" if kind.source == "lgbench" else f" ({plain(kind.source)})"
        typer.echo(showable(f"{plain(kind.form)}{source}"))
        for text in (plain(kind.summary), f"PROBLEM: {plain(kind.problem)}" if kind.problem else ""):
            if text:
                say(showable(text), indent="  ", hanging="    ", most=110)
        if kind.options:
            typer.echo("  model options")
        for option in kind.options:
            typer.echo(showable(f"    {plain(option)}"))

    for kind in kinds_of_models():
        show(kind)
    if not quiet:
        say("If several fit, the first is used. To write your own, see docs/models.md.")
