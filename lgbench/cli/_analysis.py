"""What the commands of `lgbench analyze` have in common: their options, how a model is opened, what is written."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgbench.cli._options import model_options
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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


def shares_named(text: str) -> tuple[float, float, float]:
    """The shares of three tasks as A,B,SUM."""
    try:
        first, second, both = (float(each) for each in text.split(","))
    except ValueError:
        raise LgbenchError(f"{text!r} is not a mixture. Write three shares, as in --share 0.5,0,0.5.") from None
    return first, second, both


class Analysis:
    """How a command reports its progress, and what it prints and writes.

    Args:
        name: The name of the command. Its files begin with it.
        output: The folder of its files; None to write none.
        as_json: Whether to print the record, and nothing else.
        quiet: Whether to print neither progress nor where the files are.
        extra: The extra that the command needs; None for none. With `output`, it needs `plot` too.

    Raises:
        LgbenchError: An extra is missing.
    """

    def __init__(
        self, name: str, output: Path | None, *, as_json: bool, quiet: bool, extra: str | None = "torch"
    ) -> None:
        if extra is not None:
            require_extra(extra, purpose=f"`lgbench analyze {name}`")
        if output is not None:
            require_extra("plot", purpose="A picture")
        self.name = name
        self.output = output
        self.as_json = as_json
        self.quiet = quiet or as_json

    @property
    def path(self) -> Path | None:
        """The file of the record, if one is written."""
        return None if self.output is None else self.output / f"{self.name}.json"

    @contextlib.contextmanager
    def progress(self) -> Iterator[Report]:
        """What an analysis reports its progress to: a bar in a terminal, elsewhere a line for each part."""
        from lgbench.cli._console import PlainConsole
        from lgbench.cli._progress import counting

        if self.quiet or PlainConsole(err=True).is_terminal:
            with counting("", quiet=self.quiet) as count:
                yield lambda progress: count(progress.done, progress.total, progress.what)
        else:
            yield _print_part

    def show(self, record: ProbeRecord, parts: Sequence[Table | str]) -> None:
        """Print the tables and lines of a record, or the whole record as JSON."""
        from lgbench.cli._tables import print_parts
        from lgbench.util.text import json_text

        if self.as_json:
            typer.echo(json_text(record.model_dump(mode="json")))
        else:
            print_parts(parts)

    def write(self, record: ProbeRecord, tables: Mapping[str, pd.DataFrame], pictures: Mapping[str, Figure]) -> None:
        """Write the record as NAME.json, tables as NAME-KEY.csv and pictures as NAME-KEY.svg, and say where.

        Raises:
            LgbenchError: A file cannot be written.
        """
        from lgbench.analysis.records import write_analysis
        from lgbench.plotting import write_picture
        from lgbench.util.files import write_atomically, write_errors

        assert self.output is not None
        write_analysis(self.output / f"{self.name}.json", record)
        with write_errors(self.output):
            for key, frame in tables.items():
                write_atomically(self.output / f"{self.name}-{key}.csv", frame.to_csv(index=False).encode())
        for key, figure in pictures.items():
            write_picture(figure, self.output / (f"{self.name}-{key}.svg" if key else f"{self.name}.svg"))
        if not self.quiet:
            typer.echo(f"Wrote {plain(self.output, limit=LONGEST_PATH)}")


def _print_part(progress: Progress) -> None:
    if progress.done < progress.total:
        typer.echo(f"[{progress.done + 1}/{progress.total}] {progress.what} ...", err=True)
