"""`lgbench plot`: pictures of results and of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.folders import files_named, finished_runs
from lgbench.errors import LgbenchError, UnknownNameError
from lgbench.extras import require_extra

KINDS = ("lengths", "training", "gap", "series")


def command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of results or training runs; searched.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A file that ends in .svg, .png or .pdf.")],
    kind: Annotated[
        str,
        typer.Option(
            help="lengths: accuracy by length. training: accuracy by step. gap: a sweep's heat map. "
            "series: checkpoints by pretraining step."
        ),
    ] = "lengths",
) -> None:
    """Draw curves by length, by training step, or the generalization gap of a sweep."""
    if kind not in KINDS:
        raise UnknownNameError("kind of picture", kind, KINDS)
    require_extra("plot", "matplotlib", purpose="A picture")

    from lgbench import plotting
    from lgbench.records import read_record
    from lgbench.results import Result
    from lgbench.running.folder import RESULT_FILE
    from lgbench.training.record import read_training_record
    from lgbench.training.sweep import dev_gap

    if kind in ("lengths", "series"):
        results = [read_record(folder / RESULT_FILE, Result) for folder in finished_runs(folders)]
        if kind == "series":
            figure = plotting.series_curves(results)
        else:
            figure = plotting.length_curves([result for result in results if result.group is not None])
    else:
        records = [read_training_record(folder) for folder in _training_runs(folders)]
        if kind == "training":
            figure = plotting.training_curves(records)
        else:
            figure = plotting.gap_map([dev_gap(record) for record in records])
    plotting.write_picture(figure, output)
    typer.echo(f"Wrote {output}")


def _training_runs(folders: list[Path]) -> list[Path]:
    from lgbench.training.record import RECORD

    if not (paths := files_named(RECORD, folders)):
        raise LgbenchError(f"There is no {RECORD} in {', '.join(map(str, folders))}.")
    return [path.parent for path in paths]
