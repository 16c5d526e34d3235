"""`lgbench ablate`: the arm `transfer` with some of its auxiliaries left out."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

import typer

from lgbench.cli.opening import opened
from lgbench.cli.options import Build, Changes, Device, GroupName, Jobs, Preset, RunsFolder, Seeds, SuiteName
from lgbench.cli.runs import finish_all, runs_folder, tell_failures
from lgbench.extras import require_extra

if TYPE_CHECKING:
    from lgbench.training.record import TrainingRecord


def command(
    group: GroupName,
    suite: SuiteName = "mini-v1",
    seeds: Seeds = 3,
    preset: Preset = "mini",
    change: Changes = None,
    model: Build = None,
    device: Device = "auto",
    jobs: Jobs = 1,
    output: RunsFolder = None,
) -> None:
    """Train the arm transfer with each choice of its auxiliaries, to see which of them help. Call it again to go on.

    The runs are no results: they are scored on dev examples, and all but those with every auxiliary are of no arm.
    """
    require_extra("torch", purpose="`lgbench ablate`")
    typer.echo(f"Ablating {group} ...", err=True)

    from lgbench.models.devices import choose_device
    from lgbench.training.ablation import finish_ablated, list_ablation
    from lgbench.training.plans import Recipe
    from lgbench.training.record import read_training_record

    found, chosen = opened(suite), choose_device(device)
    root = runs_folder(output, f"ablate-{found.name}-{group}", changes=change, model=model)
    recipe = Recipe(found, preset=preset, changes=change or [], model=model, device=chosen)
    runs = list_ablation(recipe, group, root, seeds=seeds)
    failed = finish_all(runs, finish_ablated, jobs=jobs, device=chosen)
    if len(failed) < len(runs):
        main = recipe.suite.group(group).main
        typer.echo(f"{group}: {main} on dev examples by zone, in %, mean over seeds; lowest and highest of transfer;")
        typer.echo("learned: the auxiliaries' accuracy up to the length that they were trained to")
        _print_table([read_training_record(run.folder) for run in runs if run not in failed])
    tell_failures(failed, runs)


def _print_table(records: Sequence[TrainingRecord]) -> None:
    """The main task's zones, a row for each choice of auxiliaries."""
    from rich import box
    from rich.table import Table

    from lgbench.cli.report import print_table
    from lgbench.groups import ZONES
    from lgbench.scoring.display import percent
    from lgbench.scoring.measures import mean_of_known
    from lgbench.training.ablation import by_choice

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("auxiliaries", no_wrap=True)
    for heading in ("seeds", "in-dist.", "transfer", "beyond", "lowest", "highest", "learned"):
        table.add_column(heading, justify="right", no_wrap=True)
    for auxiliaries, seeds in by_choice(records).items():
        transfer = [share for seed in seeds if (share := seed.zones["transfer"]) is not None]
        shares = [mean_of_known(seed.zones[zone] for seed in seeds) for zone in ZONES]
        shares += [min(transfer, default=None), max(transfer, default=None), mean(seed.auxiliaries for seed in seeds)]
        table.add_row(", ".join(auxiliaries), str(len(seeds)), *map(percent, shares))
    print_table(table)
