"""`lgbench sweep`: the arm `transfer` trained to many pairs of lengths, for the paper's Figure 10."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.options import Changes, Device, Preset, SuiteName
from lgbench.errors import LgbenchError
from lgbench.extras import require_extra


def command(
    group: Annotated[str, typer.Argument(metavar="GROUP", help="A group of the suite.")],
    main_lengths: Annotated[str, typer.Option(help="Lengths to train the main task to, as in 2,4,8.")],
    aux_lengths: Annotated[str, typer.Option(help="Lengths to train the auxiliaries to, as in 4,8,16.")],
    suite: SuiteName = "mini-v1",
    seeds: Annotated[int, typer.Option(min=1, help="Train seeds 0 to SEEDS - 1.")] = 1,
    preset: Preset = "mini",
    change: Changes = None,
    device: Device = "auto",
    output: Annotated[
        Path | None, typer.Option(help="The folder of the runs' folders.  [default: runs/sweep-SUITE-GROUP]")
    ] = None,
) -> None:
    """Train the arm transfer to every pair of lengths and print the generalization gaps. Call it again to go on.

    The runs are no results: they train to lengths that are not the suite's, and are scored on dev examples.
    """
    require_extra("torch", "torch", "safetensors", purpose="`lgbench sweep`")
    typer.echo(f"Sweeping {group} ...", err=True)

    from lgbench.models.devices import choose_device
    from lgbench.suites import load_suite
    from lgbench.training.settings import preset_settings
    from lgbench.training.sweep import dev_gap, swept_plan
    from lgbench.training.trainer import train

    found, chosen = load_suite(suite), choose_device(device)
    settings = preset_settings(preset, found.group(group), change or [])
    root = output or Path("runs") / f"sweep-{suite}-{group}"
    try:
        for seed, main, aux in itertools.product(range(seeds), _lengths(main_lengths), _lengths(aux_lengths)):
            plan = swept_plan(found, group, main, aux, seed=seed, preset=preset, settings=settings, device=chosen)
            gap = dev_gap(train(plan, root / f"main{main}-aux{aux}-seed{seed}", device=chosen, resume=True))
            typer.echo(f"main to {main}, auxiliaries to {aux}, seed {seed}: gap {float(gap.gap):.3f}")
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. Run the same command again to go on from the last saved steps.", err=True)
        raise typer.Exit(130) from None
    typer.echo(f"Draw it: lgbench plot {root} --kind gap -o gap.svg")


def _lengths(text: str) -> list[int]:
    try:
        lengths = [int(part) for part in text.split(",")]
    except ValueError:
        lengths = []
    if not lengths or min(lengths) < 1:
        raise LgbenchError(f"{text!r} is no list of lengths. Write them as in 2,4,8.")
    return lengths
