"""`lgbench schema`: the JSON Schema of result.json, or of the leaderboard's board.json."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer


def command(
    file: Annotated[
        Literal["result", "board"], typer.Argument(help="`result` for result.json, `board` for board.json.")
    ] = "result",
) -> None:
    """Print the JSON Schema of result.json, or of the leaderboard's board.json."""
    if file == "board":
        from lgbench.leaderboard.record import schema_text

        typer.echo(schema_text(), nl=False)
        return
    from lgbench.results.schema import Result

    typer.echo(json.dumps(Result.model_json_schema(), indent=1))
