"""`lgbench sweep`: the arm `transfer` trained to many pairs of lengths, for the paper's Figure 10."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from lgbench.cli.opening import opened
from lgbench.cli.options import (
    Build,
    Changes,
    Device,
    GroupName,
    Jobs,
    Preset,
    RunsFolder,
    Seeds,
    SuiteName,
    listed_lengths,
)
from lgbench.cli.runs import finish_all, runs_folder, tell_failures
from lgbench.extras import require_extra


def command(
    group: GroupName,
    main_lengths: Annotated[str, typer.Option(help="Lengths to train the main task to, as in 2,4,8.")],
    aux_lengths: Annotated[str, typer.Option(help="Lengths to train the auxiliaries to, as in 4,8,16.")],
    suite: SuiteName = "mini-v1",
    seeds: Seeds = 1,
    preset: Preset = "mini",
    change: Changes = None,
    model: Build = None,
    device: Device = "auto",
    jobs: Jobs = 1,
    output: RunsFolder = None,
) -> None:
    """Train the arm transfer to every pair of lengths and print the generalization gaps. Call it again to go on.

    The runs are no results: they train to lengths that are not the suite's, and are scored on dev examples.
    """
    require_extra("torch", purpose="`lgbench sweep`")
    typer.echo(f"Sweeping {group} ...", err=True)

    from lgbench.models.devices import choose_device
    from lgbench.training.plans import Recipe
    from lgbench.training.points import gap_line
    from lgbench.training.record import read_training_record
    from lgbench.training.sweep import finish_swept, list_sweep

    found, chosen = opened(suite), choose_device(device)
    root = runs_folder(output, f"sweep-{found.name}-{group}", changes=change, model=model)
    recipe = Recipe(found, preset=preset, changes=change or [], model=model, device=chosen)
    lengths = {"main_lengths": listed_lengths([main_lengths]), "aux_lengths": listed_lengths([aux_lengths])}
    runs = list_sweep(recipe, group, root, **lengths, seeds=seeds)
    failed = finish_all(runs, finish_swept, jobs=jobs, device=chosen)
    for run in runs:
        if run not in failed:
            typer.echo(f"{run.name}: {gap_line(run.plan, read_training_record(run.folder).curve[-1])}")
    if len(failed) < len(runs):
        typer.echo(f"Draw it: lgbench plot {shlex.quote(str(root))} --kind gap -o gap.svg")
    tell_failures(failed, runs)
