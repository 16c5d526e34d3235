"""What the commands of `lgbench analyze` have in common: their options, how a model is opened, what is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgbench.cli._options import model_options
from lgbench.util.errors import LgbenchError
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.analysis.progress import Progress, Report
    from lgbench.analysis.records import ProbeRecord
    from lgbench.util.tables import Table

Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", metavar="DIR", help="Write the record, tables and pictures here.", show_default="none"
    ),
]
Checkpoint = Annotated[
    str, typer.Argument(metavar="MODEL", help="A run's folder, a checkpoint, or a bundled model such as tiny:transfer.")
]
AnyModel = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A run's folder, a checkpoint, a bundled model such as tiny:transfer, or hf:PATH_OR_ID."
    ),
]
OfGroup = Annotated[
    str | None,
    typer.Option("--group", help="For hf:..., the group whose tasks to use.", show_default="none"),
]
AnalysisJson = Annotated[
    bool, typer.Option("--json", help="Print the record of the analysis as JSON on stdout, and nothing else.")
]
Examples = Annotated[int, typer.Option(min=16, help="Examples of each task and length.")]


def opening(device: str, group: str | None, model_option: list[str] | None, suite: str | None) -> dict[str, Any]:
    """How to open a model, beside its name."""
    options = model_options(model_option or [])
    return {"device": device, "group": group, "options": options, "suite": suite or "mini-v1"}


def head_named(text: str) -> tuple[int, int]:
    """A head as LAYER.HEAD."""
    layer, _, number = text.partition(".")
    if not (layer.isdecimal() and number.isdecimal()):
        raise LgbenchError(f"{text!r} is not a head. Write its layer and number, both from 0, as in --head 1.3.")
    return int(layer), int(number)


def listed_numbers(given: list[str] | None, *, flag: str) -> tuple[int, ...]:
    """Whole numbers from 0 on, joined by commas."""
    texts = [text.strip() for each in given or [] for text in each.split(",")]
    if wrong := [text for text in texts if not (text.isdecimal() and text.isascii() and len(text) < 7)]:
        raise LgbenchError(f"{flag} {wrong[0]!r} is not a number from 0 on.")
    return tuple(map(int, texts))


def shares_named(text: str) -> tuple[float, float, float]:
    """The shares of three tasks as A,B,SUM."""
    try:
        first, second, both = (float(each) for each in text.split(","))
    except ValueError:
        raise LgbenchError(f"{text!r} is not a mixture. Write three shares, as in --share 0.5,0,0.5.") from None
    return first, second, both


@contextlib.contextmanager
def reporter(*, quiet: bool) -> Iterator[Report]:
    """What an analysis tells how far it is: a bar in a terminal, elsewhere a line for each part."""
    from lgbench.cli._console import PlainConsole
    from lgbench.cli._progress import counting

    if quiet or PlainConsole(err=True).is_terminal:
        with counting("", quiet=quiet) as count:
            yield lambda progress: count(progress.done, progress.total, progress.what)
    else:
        yield _print_part


def _print_part(progress: Progress) -> None:
    if progress.done < progress.total:
        typer.echo(f"[{progress.done + 1}/{progress.total}] {progress.what} ...", err=True)


def print_analysis(record: ProbeRecord, parts: Sequence[Table | str], *, as_json: bool) -> None:
    """Print what an analysis found: its tables, or the whole record as JSON."""
    from lgbench.cli._report import print_parts
    from lgbench.util.text import json_text

    if as_json:
        typer.echo(json_text(record.model_dump(mode="json")))
    else:
        print_parts(parts)


def write_tables(output: Path, name: str, record: ProbeRecord, tables: dict[str, pd.DataFrame]) -> None:
    """The record as NAME.json, and each table as NAME-TABLE.csv."""
    from lgbench.analysis.records import write_analysis
    from lgbench.util.files import write_atomically, write_errors

    write_analysis(output / f"{name}.json", record)
    with write_errors(output):
        for table, frame in tables.items():
            write_atomically(output / f"{name}-{table}.csv", frame.to_csv(index=False).encode())


def say_written(output: Path, *, quiet: bool) -> None:
    """Say where the files are."""
    if not quiet:
        typer.echo(f"Wrote {plain(output, limit=LONGEST_PATH)}")
