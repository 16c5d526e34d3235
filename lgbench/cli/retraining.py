"""`lgbench retrain`: train a recorded run again and say whether it comes out the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli.opening import open_named
from lgbench.cli.options import Device, DraftName, Quiet, Resume
from lgbench.cli.training import shown
from lgbench.extras import require_extra

if TYPE_CHECKING:
    from lgbench.training.plans import TrainingPlan
    from lgbench.training.record import CurvePoint, TrainingRecord


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a recorded run, or its training.json.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model", metavar="FILE.py:BUILD", help="The module that was trained, if it is not the reference model."
        ),
    ] = None,
    hook: Annotated[
        list[str] | None,
        typer.Option("--hook", metavar="FILE.py:CLASS", help="A hook of your own that the run had; may be repeated."),
    ] = None,
    start: Annotated[
        str | None, typer.Option("--start", metavar="FOLDER", help="The checkpoint that the run started from, if any.")
    ] = None,
    until: Annotated[
        int | None,
        typer.Option(min=1, metavar="STEP", help="Stop at the first point at or after this step.", show_default="all"),
    ] = None,
    device: Device = "auto",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The new run's folder.", show_default="runs/retrain-NAME")
    ] = None,
    suite: DraftName = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a recorded run again and say whether it comes out the same. If it does not, the exit status is 1."""
    require_extra("torch", purpose="`lgbench retrain`")
    if not quiet:
        typer.echo(f"Training {run} again ...", err=True)

    from lgbench.models.devices import choose_device, fast_bfloat16
    from lgbench.text import plain
    from lgbench.training.comparison import compare, elsewhere_note, machine_differences, verdict
    from lgbench.training.record import Machine, read_training_record
    from lgbench.training.retraining import (
        check_output,
        last_step,
        plan_again,
        recorded_folder,
        reservations,
        threads_of,
    )

    open_named(suite)
    source = recorded_folder(run)
    recorded = read_training_record(source)
    folder = output or Path("runs") / f"retrain-{source.resolve().name}"
    check_output(folder, source)
    plan = plan_again(recorded, model=model, hooks=hook or [], start=start)
    chosen = choose_device(device)
    fast, last = fast_bfloat16(chosen), last_step(recorded, until)
    with threads_of(recorded):
        for reservation in reservations(recorded):
            typer.echo(plain(reservation, limit=2000), err=True)
        if not quiet:
            for note in elsewhere_note(recorded, Machine.current(chosen), fast_bfloat16=fast):
                typer.echo(note, err=True)
        here = _trained(plan, folder, recorded, until=last, device=chosen, resume=resume, quiet=quiet)
    comparison = compare(recorded, here, until=last)
    if not quiet:
        typer.echo(f"The run is in {folder}.", err=True)
    typer.echo(verdict(recorded, comparison, machine_differences(recorded, here.machine, fast_bfloat16=fast)))
    if not comparison.is_equal:
        raise typer.Exit(1)


def _trained(
    plan: TrainingPlan, folder: Path, recorded: TrainingRecord, *, until: int, device: str, resume: bool, quiet: bool
) -> TrainingRecord:
    """The record of the run here, trained now or before."""
    from lgbench.training.comparison import point_difference
    from lgbench.training.modules import planned_build
    from lgbench.training.retraining import train_until, trained_before

    if resume and (before := trained_before(plan, folder, until=until)) is not None:
        if not quiet:
            typer.echo(f"Nothing is left to train: the run in {str(folder)!r} is compared as it is.", err=True)
        return before
    points = {point.step: point for point in recorded.curve}

    def tell(point: CurvePoint) -> str:
        differs = point_difference(points[point.step], point)
        return "as recorded" if differs is None else f"not as recorded: {differs}"

    build = planned_build(plan)
    with shown(plan, folder, resume=resume, quiet=quiet, tell=tell) as report:
        return train_until(plan, folder, until=until, build=build, device=device, resume=resume, report=report)
