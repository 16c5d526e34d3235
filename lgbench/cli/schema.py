"""`lgbench schema`: the JSON Schema of result.json."""

from __future__ import annotations

import json

import typer


def command() -> None:
    """Print the JSON Schema of result.json."""
    from lgbench.results.schema import Result

    typer.echo(json.dumps(Result.model_json_schema(), indent=1))
