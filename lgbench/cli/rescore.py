"""`lgbench rescore`: check a result against its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._folders import finished_runs
from lgbench.cli._opening import open_named
from lgbench.cli._options import DraftName
from lgbench.util.errors import LgbenchError


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of finished runs; searched.")],
    suite: DraftName = None,
) -> None:
    """Regenerate the data, rebuild every reply, and recompute every count of results."""
    from lgbench.cli._diagnosis import wrong_ends
    from lgbench.evaluation.rescoring import rescore
    from lgbench.util.text import LONGEST_PATH, plain

    open_named(suite)
    problems = []
    for folder in finished_runs(folders):
        try:
            result = rescore(folder).result
        except LgbenchError as error:
            problems.append(str(error))
            continue
        total = sum(cell.counts.total for cell in result.cells)
        place, told = plain(folder, limit=LONGEST_PATH), wrong_ends(result)
        ends = f" {told}" if told else ""
        typer.echo(f"{place}: all {len(result.cells)} cells re-score ({total:,} replies), and the digest fits.{ends}")
    if problems:
        raise LgbenchError("\n".join(problems))
