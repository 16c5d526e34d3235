"""`lgbench rescore`: check a result against its replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lgbench.cli._folders import finished_runs
from lgbench.cli._opening import open_named
from lgbench.cli._options import AllJson, DraftName, Quiet
from lgbench.util.errors import LgbenchError


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders to search for finished runs.")],
    as_json: AllJson = False,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Regenerate the data, rebuild every reply, and recompute every count of results."""
    from lgbench.cli._console import say
    from lgbench.cli._diagnosis import wrong_ends
    from lgbench.cli._progress import counting
    from lgbench.evaluation.rescoring import rescore
    from lgbench.util.text import LONGEST_PATH, json_text, plain

    open_named(suite)
    runs, problems = finished_runs(folders), list[str]()
    records = list[dict[str, Any]]()
    with counting("re-scoring runs", quiet=quiet or as_json) as report:
        for number, folder in enumerate(runs, 1):
            report(number - 1, len(runs))
            try:
                result = rescore(folder).result
            except LgbenchError as error:
                problems.append(str(error))
                records.append({"run": str(folder), "cells": None, "replies": None, "problem": str(error)})
                continue
            total = sum(cell.counts.total for cell in result.cells)
            records.append({"run": str(folder), "cells": len(result.cells), "replies": total, "problem": None})
            if not as_json and not quiet:
                place, ends = plain(folder, limit=LONGEST_PATH), " ".join(filter(None, ["", wrong_ends(result)]))
                cells = f"all {len(result.cells)} cells re-score ({total:,} replies), and the digest fits"
                say(f"{place}: {cells}.{ends}", hanging="  ")
    if as_json:
        typer.echo(json_text(records))
    if problems:
        raise LgbenchError("\n".join(problems))
