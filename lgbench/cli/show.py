"""`lgbench show`: the tables of finished runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli._folders import finished_runs, read_result
from lgbench.cli._opening import open_named
from lgbench.cli._options import DraftName
from lgbench.util.errors import LgbenchError


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of finished runs; searched.")],
    lengths: Annotated[bool, typer.Option("--lengths", help="Print the accuracy at every length too.")] = False,
    suite: DraftName = None,
) -> None:
    """Print the tables of finished runs again."""
    from lgbench.cli._diagnosis import examined
    from lgbench.cli._report import print_result

    open_named(suite)
    problems = []
    for number, folder in enumerate(finished_runs(folders)):
        if number > 0:
            typer.echo()
        try:
            result, diagnosis = examined(read_result(folder), folder, folder)
            print_result(result, folder, diagnosis=diagnosis, lengths=lengths)
        except LgbenchError as error:
            problems.append(str(error))
    if problems:
        raise LgbenchError("\n".join(problems))
