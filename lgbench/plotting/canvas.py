"""What the pictures have in common: their style, their panels, and how they are written."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lgbench.util.errors import LgbenchError
from lgbench.util.files import output_writer, write_errors

# No creation date, no version of the program that wrote it.
_METADATA: Mapping[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "lgbench",
    "svg.fonttype": "path",
    "font.size": 9.0,
    "axes.spines.right": False,
}
STYLE |= {"axes.spines.top": False, "legend.frameon": False, "font.family": "DejaVu Sans"}


def picture(figure: Figure, kind: str) -> bytes:
    """A figure as the content of an `svg`, `png` or `pdf` file.

    Raises:
        LgbenchError: It is none of these.
    """
    _check_kind(kind)
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(content, format=kind, dpi=150, metadata=_METADATA[kind])
    return content.getvalue()


def check_picture_path(path: Path) -> None:
    """Refuse a file that `write_picture` would refuse for its ending, before anything is drawn.

    Raises:
        LgbenchError: The ending is none of .svg, .png, .pdf.
    """
    _check_kind(_kind_of(path))


def _kind_of(path: Path) -> str:
    return path.suffix.removeprefix(".").lower()


def _check_kind(kind: str) -> None:
    if kind not in _METADATA:
        raise LgbenchError(f"No picture can be written as {kind!r}. Name a file that ends in .svg, .png or .pdf.")


def write_picture(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; the name's ending says as what.

    Raises:
        LgbenchError: The ending is none of .svg, .png, .pdf, or the file cannot be written, as it is a link or its
            folder is full.
    """
    content = picture(figure, _kind_of(path))
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with output_writer(path) as file:
            file.write(content)


def refuse_twice(runs: Iterable[tuple[str, int | None]]) -> None:
    """Refuse two runs that are of the same, in words, with the same seed."""
    if repeated := [run for run, count in Counter(runs).items() if count > 1]:
        what, seed = repeated[0]
        raise LgbenchError(
            f"Two runs are of {what} with seed {seed}: a picture is of one system, which has one run of each seed. "
            "Name fewer folders."
        )


def make_panels(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with so many panels, at most three in a row."""
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(4.2 * columns, 3.0 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for spare in grid.flat[count:]:
        spare.remove()
    return figure, list(grid.flat[:count])


def legend(axes: Axes, *, columns: int, title: str | None = None) -> None:
    """Below the panel, where no curve can be."""
    axes.legend(
        title=title, fontsize=7, title_fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=columns
    )
