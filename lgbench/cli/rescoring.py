"""`lgbench rescore`: check a result against its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder with result.json and replies.jsonl.gz.")],
) -> None:
    """Regenerate the data, rebuild every reply, and recompute every count of a result."""
    from lgbench.rescoring import rescore

    result = rescore(folder).result
    total = sum(cell.counts.total for cell in result.cells)
    typer.echo(f"{folder}: all {len(result.cells)} cells re-score ({total:,} replies), and the digest fits.")
