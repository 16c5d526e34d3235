"""`lgbench plot`: pictures of results and of training runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.errors import LgbenchError, UnknownNameError
from lgbench.extras import require_extra

KINDS = ("lengths", "training", "gap", "series")


def command(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR...", help="Folders of results or training runs; they are searched.")
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
    from lgbench.training.record import read_training_record
    from lgbench.training.sweep import dev_gap

    if kind in ("lengths", "series"):
        results = [read_record(path, Result) for path in _found(folders, "result.json")]
        if kind == "series":
            figure = plotting.series_curves(results)
        else:
            figure = plotting.length_curves([result for result in results if result.group is not None])
    else:
        records = [read_training_record(path.parent) for path in _found(folders, "training.json")]
        if kind == "training":
            figure = plotting.training_curves(records)
        else:
            figure = plotting.gap_map([dev_gap(record) for record in records])
    plotting.write_picture(figure, output)
    typer.echo(f"Wrote {output}")


def _found(folders: list[Path], name: str) -> list[Path]:
    """The files of this name in and below the folders, in order."""
    for folder in folders:
        if not folder.is_dir():
            raise LgbenchError(f"There is no folder {str(folder)!r}.")
    paths = [path for folder in folders for path in sorted(folder.rglob(name))]
    if not paths:
        raise LgbenchError(f"There is no {name} in {', '.join(map(str, folders))}.")
    return paths
