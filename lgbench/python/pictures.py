"""`plot`: the pictures of `lgbench plot`, to be shown in a notebook or saved."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lgbench.data.groups import OPEN_ARM
from lgbench.python.systems import Systems, place_of, with_baseline
from lgbench.results.schema import Result
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.extras import require_extra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Kind = Literal["lengths", "training", "gap", "series", "measures"]


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
    what: Any, *more: Any, kind: Kind | None = None, baseline: str | None = None, arm: str | None = None
) -> Picture:
    """Draw results or training records.

    Args:
        what: Results or training records of one system, or systems as `compare` takes them: folders, results, or a
            dictionary of these.
        more: Further systems.
        kind: `lengths`: results by length, of one trained system its arms, of several systems one arm. `training`:
            records by step. `gap`: the gaps of a sweep's records. `series`: the results of checkpoints by pretraining
            step. `measures`: what a method measured, by step. None for `lengths` of results and `training` of records.
        baseline: One more system, as in `compare`.
        arm: The arm in which systems are drawn; None for all arms of a single trained system, else for `transfer`, or
            `open` where none is trained.

    Raises:
        LgbenchError: There is nothing to draw, it does not fit into one picture, or the extra `plot` is missing.
        UnknownNameError: There is no such kind, arm or baseline.
    """
    require_extra("plot", purpose="lgbench.plot")

    from lgbench import plotting

    makers: dict[str, Any] = {
        "lengths": plotting.length_curves,
        "training": plotting.training_curves,
        "gap": plotting.gap_map,
        "series": plotting.series_curves,
        "measures": plotting.measure_curves,
    }
    if kind is not None and kind not in makers:
        raise UnknownNameError("kind of picture", kind, makers)
    shown = list(what) if isinstance(what, Sequence) and not isinstance(what, str) else [what]
    if not shown:
        raise LgbenchError("There is nothing to draw: no result and no record was given.")
    names_systems = bool(more) or isinstance(what, str | Path | Mapping)
    if kind in (None, "lengths") and (names_systems or all(isinstance(each, Result) for each in shown)):
        from lgbench.python.comparing import given_systems

        systems, left_out = given_systems([what, *more])
        figure, incomplete = draw_systems(systems, baseline=baseline, arm=arm)
        for each in (*left_out, *incomplete):
            warnings.warn(f"Left out: {each}.", stacklevel=2)
        return Picture(figure)
    if more or baseline is not None or arm is not None:
        raise LgbenchError("Several systems, a baseline and an arm are for pictures of kind 'lengths'.")
    chosen = kind or "training"
    wants_results = chosen in ("lengths", "series")
    if any(isinstance(each, Result) != wants_results for each in shown):
        wanted = "results, as of lgbench.load_results" if wants_results else "records, as of lgbench.load_records"
        raise LgbenchError(f"A picture of kind {chosen!r} is of {wanted}. Something else was given.")
    return Picture(makers[chosen](shown))


def draw_systems(systems: Systems, *, baseline: str | None, arm: str | None) -> tuple[Figure, list[str]]:
    """Systems by length: of a single trained one its arms, else all in one arm; and what is left out, a clause each.

    Raises:
        LgbenchError: They do not fit into one picture.
        UnknownNameError: There is no such arm or baseline.
    """
    from lgbench import plotting
    from lgbench.python.comparing import complete
    from lgbench.python.contests import find_fields

    if baseline is not None:
        systems, _ = with_baseline(systems, baseline)
    if arm is None and len(systems) == 1:
        ((_, own),) = systems.items()
        trained = [each for each in own if each.arm != OPEN_ARM]
        if trained or not own:
            left_out = [f"{place_of(each)}, as it is of arm open" for each in own if each.arm == OPEN_ARM]
            return plotting.length_curves(trained), left_out
    counted, left_out = complete(systems)
    arm, fields = find_fields(counted, arm=arm)
    drawn = {name for field in fields for name in field.entries}
    left_out += [f"{name}, as it has no complete run of arm {arm}" for name in counted if name not in drawn]
    return plotting.system_curves(fields, arm=arm), left_out
