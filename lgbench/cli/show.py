"""`lgbench show`: finished runs as tables, a line each or in full, and as data."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgbench.cli._folders import tell_unfinished
from lgbench.cli._opening import open_named
from lgbench.cli._options import AsCsv, AsJson, DraftName, Quiet, one_form
from lgbench.cli._streams import print_csv
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.python.results import Result
    from lgbench.util.tables import Table


def command(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR", help="Folders to search for finished runs.")],
    full: Annotated[
        bool, typer.Option("--full", help="Print the full tables of each run, as for a single one.", show_default=False)
    ] = False,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="Also print the accuracy at every length; as data, a row for each length.")
    ] = False,
    as_csv: AsCsv = False,
    as_json: AsJson = False,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", metavar="FILE", help="Write the rows to a parquet file.")
    ] = None,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Print finished runs: a single run in full, several runs in one line each.

    As CSV, JSON or parquet, each row is a run, or with --lengths a task of a run at one length.
    """
    one_form(csv=as_csv, json=as_json, parquet=parquet is not None)
    if parquet is not None:
        require_extra("export", purpose="--parquet")

    from lgbench.cli._progress import counting
    from lgbench.python.results import read_result
    from lgbench.training.evaluated import find_evaluations
    from lgbench.util.counting import counted

    open_named(suite)
    found = find_evaluations(folders)
    tell_unfinished(found.unfinished)
    problems, results = list(found.unreadable), []
    with counting("reading runs", quiet=quiet or as_json) as report:
        for folder in counted(found.finished, report):
            try:
                results.append(read_result(folder))
            except LgbenchError as error:
                problems.append(str(error))
    if as_csv or as_json or parquet is not None:
        if results:
            frame = _frame(results, problems, lengths=lengths, quiet=quiet or as_json)
            _put_out(frame, as_csv=as_csv, parquet=parquet, quiet=quiet)
    elif full or lengths or len(found.finished) == 1:
        _print_each(results, problems, lengths=lengths)
    elif results:
        _print_lines(results, problems, quiet=quiet)
    if problems:
        raise LgbenchError("\n".join(problems))


def _frame(results: Sequence[Result], problems: list[str], *, lengths: bool, quiet: bool) -> pd.DataFrame:
    """The rows of all results that can be shown; a sentence for each other one goes to the problems."""
    from lgbench.cli._progress import counting
    from lgbench.python.results import with_every_count
    from lgbench.results.schema import LATER_COUNTS
    from lgbench.scoring.frames import result_frame
    from lgbench.util.counting import counted

    shown = []
    with counting("counting replies", quiet=quiet) as report:
        for result in counted(results, report):
            old = any(getattr(cell.counts, name) is None for cell in result.cells for name in LATER_COUNTS)
            try:
                each = (with_every_count(result) if lengths and old else result).labelled
                result_frame([each], "runs")  # raises for a draft suite that is not open
            except LgbenchError as error:
                problems.append(str(error))
                continue
            shown.append(each)
    if not shown:
        raise LgbenchError("\n".join(problems))
    return result_frame(shown, "cells" if lengths else "runs")


def _put_out(frame: pd.DataFrame, *, as_csv: bool, parquet: Path | None, quiet: bool) -> None:
    """Rows as CSV or JSON on stdout, or in a parquet file."""
    from lgbench.util.text import LONGEST_PATH, json_text, plain

    if parquet is not None:
        from lgbench.util.files import output_writer, write_errors

        with write_errors(parquet), output_writer(parquet) as file:
            frame.to_parquet(file, index=False)
        if not quiet:
            typer.echo(f"Wrote {plain(parquet, limit=LONGEST_PATH)}")
    elif as_csv:
        print_csv(frame)
    else:
        known = frame.astype(object).where(frame.notna(), None)
        typer.echo(json_text(known.to_dict("records")))


def _print_each(results: Sequence[Result], problems: list[str], *, lengths: bool) -> None:
    """The tables of each result."""
    from lgbench.cli._diagnosis import examined
    from lgbench.cli._report import print_result

    for number, result in enumerate(results):
        if number > 0:
            typer.echo()
        assert result.folder is not None
        try:
            shown, diagnosis = examined(result, result.folder, result.folder)
            print_result(shown, result.folder, diagnosis=diagnosis, lengths=lengths)
        except LgbenchError as error:
            problems.append(str(error))


def _print_lines(results: Sequence[Result], problems: list[str], *, quiet: bool) -> None:
    """A line for each result."""
    from lgbench.cli._console import say
    from lgbench.cli._tables import fits, print_parts
    from lgbench.scoring.display import percent
    from lgbench.util.tables import Table
    from lgbench.util.text import plain

    frame = _frame(results, problems, lengths=False, quiet=quiet)
    several = ["suite"] if frame["suite"].nunique() > 1 else []
    columns = ("run", *several, "arm", "group", "seed", "in-dist.", "transfer", "beyond", "H90", "right")
    rows = []
    for row in frame.astype(object).where(frame.notna(), None).to_dict("records"):
        horizon = None if row["horizon_90"] is None else _horizon(row)
        zones = [percent(row[zone]) for zone in ("in_distribution", "transfer", "beyond")]
        rows.append(
            [
                *(plain(row[name]) for name in ("run", *several, "arm")),
                *(None if row[name] is None else plain(row[name]) for name in ("group", "seed")),
                *zones,
                horizon,
                f"{row['correct']:,} of {row['total']:,}",
            ]
        )
    text = 3 + len(several)
    full = Table("", columns, rows, text=text)
    if fits(full):
        print_parts([full])
    else:
        print_parts([_narrower(full)])
    say("The main task's exact match in % by zone; of arm open, transfer is the open score.")
    if partial := int(frame["partial"].sum()):
        lack = "run is incomplete" if partial == 1 else "runs are incomplete"
        say(f"{partial} {lack}, so some zones have no accuracy. --full shows what was evaluated.")


def _narrower(table: Table) -> Table:
    """A table of runs for a narrow terminal, with the folder that all of them are in above it.

    Where that is still too wide, their names are left out, if other columns tell every run from every other.
    """
    from lgbench.cli._tables import fits
    from lgbench.util.tables import Table

    runs = [Path(row[0]) for row in table.rows]
    if len({run.is_absolute() for run in runs}) > 1:
        return table  # in no common folder
    above = Path(os.path.commonpath([run.parent for run in runs]))
    rows = [[str(run.relative_to(above)), *row[1:]] for run, row in zip(runs, table.rows, strict=True)]
    named = Table(f"Runs in {above}", table.columns, rows, text=table.text)
    if fits(named) or len({tuple(row[1 : table.text + 1]) for row in rows}) < len(rows):
        return named
    title = f"Runs in {above}, their names in a wider terminal or with --csv"
    shorter = [[*row[1:-1], row[-1].replace(" of ", "/")] for row in rows]
    return Table(title, table.columns[1:], shorter, text=table.text - 1)


def _horizon(row: Mapping[Any, Any]) -> str:
    """H90 of a run as other tables show it."""
    from lgbench.data.suites import load_suite
    from lgbench.scoring.measures import Horizon

    grid = load_suite(row["suite"]).group(row["group"]).grid
    return str(Horizon(row["horizon_90"], grid[0], grid[-1]))
