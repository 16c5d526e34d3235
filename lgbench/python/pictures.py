"""`plot`: the pictures of `lgbench plot`, to be shown in a notebook or saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lgbench.results.schema import Result
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.extras import require_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lgbench.training.record import TrainingRecord

Kind = Literal["lengths", "training", "gap", "series"]


class Picture:
    """A picture. A notebook shows it.

    Args:
        figure: What matplotlib draws.

    Attributes:
        figure: The same, to be changed or drawn elsewhere.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def save(self, path: str | Path) -> None:
        """Write it to a file that ends in .svg, .png or .pdf.

        Raises:
            LgbenchError: The file ends otherwise, or cannot be written.
        """
        from lgbench.plotting.canvas import write_picture

        write_picture(self.figure, Path(path))

    def __repr__(self) -> str:
        """In a line."""
        width, height = self.figure.get_size_inches()
        return f"<Picture of {width:g} by {height:g} inches: .save('picture.svg') writes it>"

    def _repr_svg_(self) -> str:
        from lgbench.plotting.canvas import picture

        return picture(self.figure, "svg").decode()


def plot(
    what: Result | Sequence[Result] | TrainingRecord | Sequence[TrainingRecord], *, kind: Kind | None = None
) -> Picture:
    """Draw results or training records.

    Args:
        what: Of one system.
        kind: `lengths`: results by length. `training`: records by step. `gap`: the gaps of a sweep's records. `series`:
            the results of checkpoints by pretraining step. None for `lengths` of results and `training` of records.

    Raises:
        LgbenchError: There is nothing to draw, it does not fit into one picture, or the extra `plot` is missing.
        UnknownNameError: There is no such kind.
    """
    require_extra("plot", purpose="lgbench.plot")

    from lgbench import plotting

    makers: dict[str, Any] = {
        "lengths": plotting.length_curves,
        "training": plotting.training_curves,
        "gap": plotting.gap_map,
        "series": plotting.series_curves,
    }
    shown = list(what) if isinstance(what, Sequence) else [what]
    if not shown:
        raise LgbenchError("There is nothing to draw: no result and no record was given.")
    are_results = [isinstance(each, Result) for each in shown]
    chosen = kind or ("lengths" if all(are_results) else "training")
    if chosen not in makers:
        raise UnknownNameError("kind of picture", chosen, makers)
    wants_results = chosen in ("lengths", "series")
    if any(each != wants_results for each in are_results):
        wanted = "results, as of lgbench.load_results" if wants_results else "records, as of lgbench.load_records"
        raise LgbenchError(f"A picture of kind {chosen!r} is of {wanted}. Something else was given.")
    return Picture(makers[chosen](shown))
