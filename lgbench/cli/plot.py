"""`lgbench plot`: pictures of results and of training runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from lgbench.cli._folders import files_named, finished_runs, fitting, named_folders, read_result
from lgbench.cli._opening import open_named
from lgbench.cli._options import Baseline, ComparedArm, DraftName
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.extras import require_extra
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from lgbench.training.record import TrainingRecord

Found = TypeVar("Found")
KINDS = ("lengths", "training", "gap", "series", "measures")


def command(
    given: Annotated[
        list[str],
        typer.Argument(
            metavar="DIR",
            help="Folders of results or training runs, searched; NAME=DIR says what system results are of.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A file that ends in .svg, .png or .pdf.")],
    kind: Annotated[
        str,
        typer.Option(
            help="lengths: accuracy by length. training: accuracy by step. gap: a sweep's heat map. "
            "series: checkpoints by pretraining step. measures: what a method took down, by step."
        ),
    ] = "lengths",
    baseline: Baseline = None,
    arm: ComparedArm = None,
    suite: DraftName = None,
) -> None:
    """Draw curves by length, training step or pretraining step, or the generalization gap of a sweep.

    By length, several systems are drawn over each other in one arm; of a single trained system, its arms are.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of picture", kind, KINDS)
    require_extra("plot", purpose="A picture")
    open_named(suite)

    from lgbench import plotting

    if kind != "lengths" and (baseline is not None or arm is not None):
        raise LgbenchError("--baseline and --arm are for pictures of --kind lengths.")
    named = named_folders(given)
    folders = [folder for _, folder in named]
    if kind == "lengths":
        figure = _by_length(named, baseline=baseline, arm=arm)
    elif any(name is not None for name, _ in named):
        raise LgbenchError("NAME=DIR is for pictures of --kind lengths. Name the folders alone.")
    elif kind == "series":
        figure = plotting.series_curves([read_result(folder) for folder in finished_runs(folders)])
    elif kind == "training":
        figure = plotting.training_curves(_drawn(_training_runs(folders), _no_curve))
    elif kind == "measures":
        figure = plotting.measure_curves(_drawn(_training_runs(folders), _no_measures))
    else:
        figure = plotting.gap_map(_drawn(_training_runs(folders), _no_gap))
    plotting.write_picture(figure, output)
    typer.echo(f"Wrote {plain(output, limit=LONGEST_PATH)}")


def _by_length(named: Sequence[tuple[str | None, Path]], *, baseline: str | None, arm: str | None) -> Figure:
    from lgbench.python.pictures import draw_systems
    from lgbench.python.systems import read_systems

    read = read_systems(named)
    figure, incomplete = draw_systems(read.systems, baseline=baseline, arm=arm)
    for each in (*read.left_out, *incomplete):
        typer.echo(f"Left out: {plain(each, limit=LONGEST_PATH)}.", err=True)
    return figure


def _drawn(runs: Mapping[Path, Found], why_not: Callable[[Found], str | None]) -> list[Found]:
    if not (fit := fitting(runs, why_not)):
        raise LgbenchError("None of these runs fits into the picture: see above, and --kind.")
    return list(fit.values())


def _training_runs(folders: list[Path]) -> dict[Path, TrainingRecord]:
    from lgbench.training.record import RECORD, read_training_record

    if not (paths := files_named(RECORD, folders)):
        raise LgbenchError(f"There is no {RECORD} in {', '.join(repr(str(folder)) for folder in folders)}.")
    return {path.parent: read_training_record(path.parent) for path in paths}


def _no_curve(record: TrainingRecord) -> str | None:
    if not record.is_of_its_arm:
        return "it was not trained as the suite's arm is: by a sweep or an ablation, or on data that a hook changed"
    return None if record.curve else "it has no point of its curve yet"


def _no_measures(record: TrainingRecord) -> str | None:
    return None if record.measures else "it has no method that took something down"


def _no_gap(record: TrainingRecord) -> str | None:
    plan = record.plan
    if plan.arm != "transfer":
        return f"it is of arm {plan.arm}"
    arm = plan.suite_group.mixture(plan.arm).parts
    if [(part.task, part.share) for part in plan.parts] != [(part.task, part.share) for part in arm]:
        return "an ablation left out an auxiliary of it"
    return None if record.finished else f"it has done {record.steps_done} of {plan.settings.steps} steps"
