"""`lgbench analyze`: what goes on inside a model, and what goes wrong in its replies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._folders import finished_runs, read_result
from lgbench.cli._group import Group
from lgbench.cli._opening import open_named
from lgbench.cli._options import DraftName, Lengths, Tasks, listed, listed_lengths
from lgbench.util.extras import require_extra
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.analysis.records import AnalysisRecord

app = typer.Typer(cls=Group, help="Look into a model, and at what goes wrong in its replies.", no_args_is_help=True)

Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Write the record, tables and pictures here.", show_default="none"
    ),
]


@app.command()
def errors(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders of finished runs; searched.")],
    task: Tasks = None,
    length: Lengths = None,
    output: Output = None,
    suite: DraftName = None,
) -> None:
    """Say what goes wrong in the replies of finished runs: how they end, and what their first wrong symbol is."""
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.error_tables import error_tables
    from lgbench.analysis.errors import analyze_errors
    from lgbench.cli._report import print_parts

    runs = {folder: read_result(folder) for folder in finished_runs(folders)}
    record = analyze_errors(runs, tasks=listed(task), lengths=listed_lengths(length))
    wrong = any(cell.kinds for run in record.runs for cell in run.cells)
    print_parts(error_tables(record) if wrong else ["No reply is wrong."])
    if output is not None:
        _write(
            output, "errors", record, {"cells": record.frame(), "chains": record.chains(), "targets": record.targets()}
        )
        if wrong:
            from lgbench.analysis.error_pictures import error_kinds
            from lgbench.plotting import write_picture

            write_picture(error_kinds(record), output / "errors.svg")
        _say_written(output)


def _write(output: Path, name: str, record: AnalysisRecord, tables: dict[str, pd.DataFrame]) -> None:
    """The record as NAME.json, and each table as NAME-TABLE.csv."""
    from lgbench.analysis.records import write_analysis
    from lgbench.util.files import write_atomically, write_errors

    write_analysis(output / f"{name}.json", record)
    with write_errors(output):
        for table, frame in tables.items():
            write_atomically(output / f"{name}-{table}.csv", frame.to_csv(index=False).encode())


def _say_written(output: Path) -> None:
    typer.echo(f"Wrote {plain(output, limit=LONGEST_PATH)}")
