"""`lgbench rescore`: check a result against its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.folders import finished_runs
from lgbench.cli.opening import open_named
from lgbench.cli.options import DraftName
from lgbench.errors import LgbenchError


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of finished runs; searched.")],
    suite: DraftName = None,
) -> None:
    """Regenerate the data, rebuild every reply, and recompute every count of results."""
    from lgbench.rescoring import rescore

    open_named(suite)
    problems = []
    for folder in finished_runs(folders):
        try:
            result = rescore(folder).result
        except LgbenchError as error:
            problems.append(str(error))
            continue
        total = sum(cell.counts.total for cell in result.cells)
        typer.echo(f"{folder}: all {len(result.cells)} cells re-score ({total:,} replies), and the digest fits.")
    if problems:
        raise LgbenchError("\n".join(problems))
