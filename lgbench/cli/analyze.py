"""`lgbench analyze`: what happens inside a model, and what goes wrong in its replies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._folders import finished_runs, read_result
from lgbench.cli._group import Group
from lgbench.cli._opening import open_named
from lgbench.cli._options import Device, DraftName, Lengths, Quiet, Tasks, listed, listed_lengths
from lgbench.util.extras import require_extra
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.analysis.progress import Progress, Report
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
    from lgbench.analysis.error_tables import tabulate_errors
    from lgbench.analysis.errors import analyze_errors
    from lgbench.cli._report import print_parts

    runs = {folder: read_result(folder) for folder in finished_runs(folders)}
    record = analyze_errors(runs, tasks=listed(task), lengths=listed_lengths(length))
    wrong = any(cell.kinds for run in record.runs for cell in run.cells)
    print_parts(tabulate_errors(record) if wrong else ["No reply is wrong."])
    if output is not None:
        _write(
            output, "errors", record, {"cells": record.frame(), "chains": record.chains(), "targets": record.targets()}
        )
        if wrong:
            from lgbench.analysis.error_pictures import error_kinds
            from lgbench.plotting import write_picture

            write_picture(error_kinds(record), output / "errors.svg")
        _say_written(output)


Checkpoint = Annotated[str, typer.Argument(metavar="MODEL", help="A run's folder, a checkpoint, or as tiny:transfer.")]
Examples = Annotated[int, typer.Option(min=16, help="Examples of each task and length.")]


@app.command()
def heads(
    model: Checkpoint,
    task: Tasks = None,
    length: Lengths = None,
    ablation: Annotated[
        list[str] | None,
        typer.Option(help="mean, resample, zero, or several joined by commas; may be repeated.", show_default="all"),
    ] = None,
    examples: Examples = 256,
    output: Output = None,
    device: Device = "auto",
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Remove each attention head in turn, and say what each task of a model loses. With --output, rerun to resume."""
    require_extra("torch", purpose="`lgbench analyze heads`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.ablation import ablations_named
    from lgbench.analysis.head_tables import tabulate_heads
    from lgbench.analysis.heads import METRICS, analyze_heads
    from lgbench.analysis.opening import open_model
    from lgbench.cli._report import print_parts

    record = analyze_heads(
        open_model(model, device=device),
        tasks=listed(task),
        lengths=listed_lengths(length),
        ablations=ablations_named(listed(ablation)),
        examples=examples,
        path=None if output is None else output / "heads.json",
        report=_reporter(quiet=quiet),
    )
    print_parts(tabulate_heads(record))
    if output is not None:
        from lgbench.analysis.head_pictures import head_maps
        from lgbench.plotting import write_picture

        tables = {"maps": record.frame(), "positions": record.positions(), "distances": record.distances()}
        _write(output, "heads", record, tables)
        for each in record.ablations:
            for metric in METRICS:
                write_picture(head_maps(record, each, metric), output / f"heads-{each}-{metric}.svg")
        _say_written(output)


@app.command()
def reuse(
    model: Checkpoint,
    task: Tasks = None,
    unrelated: Annotated[
        str | None,
        typer.Option(metavar="TASK", help="A trained task to serve as the floor.", show_default="none"),
    ] = None,
    length: Lengths = None,
    ablation: Annotated[str, typer.Option(help="mean, resample or zero.")] = "resample",
    examples: Examples = 128,
    output: Output = None,
    device: Device = "auto",
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Test whether the main task of a model uses the attention heads of its other tasks."""
    require_extra("torch", purpose="`lgbench analyze reuse`")
    open_named(suite)
    from lgbench.analysis.ablation import ablations_named
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.reuse import analyze_reuse
    from lgbench.analysis.verdicts import tabulate_reuse
    from lgbench.cli._report import print_parts

    (kind,) = ablations_named([ablation])
    record = analyze_reuse(
        open_model(model, device=device),
        others=listed(task),
        unrelated=unrelated,
        lengths=listed_lengths(length),
        ablation=kind,
        examples=examples,
        report=_reporter(quiet=quiet),
    )
    print_parts(tabulate_reuse(record))
    if output is not None:
        _write(output, "reuse", record, {"tests": record.frame()})
        _say_written(output)


@app.command()
def superposition(
    model: Checkpoint,
    task: Tasks = None,
    length: Lengths = None,
    examples: Examples = 128,
    output: Output = None,
    device: Device = "auto",
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Mix the tag of the main task with another's, and see which target a model writes."""
    require_extra("torch", purpose="`lgbench analyze superposition`")
    if output is not None:
        require_extra("plot", purpose="A picture")
    open_named(suite)
    from lgbench.analysis.opening import open_model
    from lgbench.analysis.superposition import analyze_superposition, tabulate_superposition
    from lgbench.cli._report import print_parts

    record = analyze_superposition(
        open_model(model, device=device),
        others=listed(task),
        lengths=listed_lengths(length),
        examples=examples,
        report=_reporter(quiet=quiet),
    )
    print_parts(tabulate_superposition(record))
    if output is not None:
        from lgbench.analysis.superposition_pictures import superposition_curves
        from lgbench.plotting import write_picture

        _write(output, "superposition", record, {"mixtures": record.frame()})
        write_picture(superposition_curves(record), output / "superposition.svg")
        _say_written(output)


def _reporter(*, quiet: bool) -> Report:
    """A line on stderr for each part."""

    def report(progress: Progress) -> None:
        if not quiet and progress.done < progress.total:
            typer.echo(f"[{progress.done + 1}/{progress.total}] {progress.what} ...", err=True)

    return report


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
