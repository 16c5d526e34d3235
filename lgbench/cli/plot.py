"""`lgbench plot`: pictures of results and of training runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lgbench.cli._folders import files_named, finished_runs, fitting, named_folders, read_result
from lgbench.cli._opening import open_named
from lgbench.cli._options import Baseline, ComparedArm, DraftName, Quiet
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.extras import require_extra
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lgbench.cli._progress import Count
    from lgbench.training.record import TrainingRecord

Found = TypeVar("Found")
_DRAWING = "drawing"
KINDS = ("lengths", "training", "gap", "series", "measures")


def command(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR",
            help="Folders to search for finished runs or training runs; NAME=DIR names the system.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A file that ends in .svg, .png or .pdf.")],
    kind: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="lengths: accuracy by length. training: accuracy by step. gap: a sweep's heat map. "
            "series: checkpoints by pretraining step. measures: what a method measured, by step.",
        ),
    ] = "lengths",
    baseline: Baseline = None,
    arm: ComparedArm = None,
    quiet: Quiet = False,
    suite: DraftName = None,
) -> None:
    """Draw curves by length, training step or pretraining step, or the generalization gap of a sweep.

    Curves by length show all arms of a single trained system, or several systems in one arm.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of picture", kind, KINDS)
    require_extra("plot", purpose="A picture")
    open_named(suite)

    from lgbench.cli._progress import counting

    if kind != "lengths" and (baseline is not None or arm is not None):
        raise LgbenchError("--baseline and --arm are for pictures of --kind lengths.")
    named = named_folders(given)
    folders = [folder for _, folder in named]
    if kind != "lengths" and any(name is not None for name, _ in named):
        raise LgbenchError("NAME=DIR is for pictures of --kind lengths. Name the folders alone.")
    with counting("reading runs", quiet=quiet) as report:
        from lgbench.plotting import check_picture_path, write_picture

        check_picture_path(output)
        if kind == "lengths":
            figure = _by_length(named, report, baseline=baseline, arm=arm)
        else:
            figure = _by_kind(kind, folders, report)
        write_picture(figure, output)
    if not quiet:
        typer.echo(f"Wrote {plain(output, limit=LONGEST_PATH)}")


def _by_length(
    named: Sequence[tuple[str | None, Path]], report: Count, *, baseline: str | None, arm: str | None
) -> Figure:
    from lgbench.python.pictures import draw_systems
    from lgbench.python.systems import read_systems

    read = read_systems(named, report)
    report(0, None, _DRAWING)
    figure, incomplete = draw_systems(read.systems, baseline=baseline, arm=arm)
    for each in (*read.left_out, *incomplete):
        typer.echo(f"Left out: {plain(each, limit=LONGEST_PATH)}.", err=True)
    return figure


def _by_kind(kind: str, folders: list[Path], report: Count) -> Figure:
    """A picture of training records, or of the results of a series of checkpoints."""
    from lgbench import plotting
    from lgbench.util.counting import counted

    if kind == "series":
        results = [read_result(folder) for folder in counted(finished_runs(folders), report)]
        report(0, None, _DRAWING)
        return plotting.series_curves(results)
    draw, why_not = {
        "training": (plotting.training_curves, _no_curve),
        "measures": (plotting.measure_curves, _no_measures),
        "gap": (plotting.gap_map, _no_gap),
    }[kind]
    records = _drawn(_training_runs(folders, report), why_not)
    report(0, None, _DRAWING)
    return draw(records)


def _drawn(runs: Mapping[Path, Found], why_not: Callable[[Found], str | None]) -> list[Found]:
    if not (fit := fitting(runs, why_not)):
        raise LgbenchError("None of these runs fits into the picture: see above, and --kind.")
    return list(fit.values())


def _training_runs(folders: list[Path], report: Count) -> dict[Path, TrainingRecord]:
    from lgbench.training.record import RECORD, read_training_record
    from lgbench.util.counting import counted

    if not (paths := files_named(RECORD, folders)):
        raise LgbenchError(f"There is no {RECORD} in {', '.join(repr(str(folder)) for folder in folders)}.")
    return {path.parent: read_training_record(path.parent) for path in counted(paths, report)}


def _no_curve(record: TrainingRecord) -> str | None:
    if not record.is_of_its_arm:
        return "it was not trained as the suite's arm is: by a sweep or an ablation, or on data that a hook changed"
    return None if record.curve else "it has no point of its curve yet"


def _no_measures(record: TrainingRecord) -> str | None:
    return None if record.measures else "it has no method that measures anything"


def _no_gap(record: TrainingRecord) -> str | None:
    plan = record.plan
    if plan.arm != "transfer":
        return f"it is of arm {plan.arm}"
    arm = plan.suite_group.mixture(plan.arm).parts
    if [(part.task, part.share) for part in plan.parts] != [(part.task, part.share) for part in arm]:
        return "an ablation left out an auxiliary of it"
    return None if record.finished else f"it has done {record.steps_done} of {plan.settings.steps} steps"
