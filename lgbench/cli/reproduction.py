"""`lgbench reproduce`: train and evaluate every arm and seed, then compare the arms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lgbench.cli.options import Build, Changes, Device, Preset, SuiteName
from lgbench.errors import LgbenchError
from lgbench.extras import require_extra


def command(
    suite: SuiteName = "mini-v1",
    group: Annotated[list[str] | None, typer.Option(help="A group; may be repeated.  [default: all]")] = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="An arm; may be repeated. `--arm direct` adds the ceiling.  [default: main_only, transfer, control]"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train seeds 0 to SEEDS - 1.")] = 3,
    preset: Preset = "mini",
    change: Changes = None,
    model: Build = None,
    device: Device = "auto",
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, each with its share of the cores.")] = 1,
    output: Annotated[
        Path | None, typer.Option(help="The folder of the runs' folders.  [default: runs/SUITE-PRESET]")
    ] = None,
) -> None:
    """Train and evaluate every arm and seed, then say whether transfer was seen. Call it again to go on."""
    require_extra("torch", "torch", "safetensors", purpose="`lgbench reproduce`")
    typer.echo("Planning ...", err=True)

    from lgbench.cli.comparison import print_comparison
    from lgbench.models.devices import choose_device
    from lgbench.rescoring import rescore
    from lgbench.scoring.systems import score_trained
    from lgbench.suites import load_suite
    from lgbench.training.record import read_training_record
    from lgbench.training.reproduction import RESULT, execute, list_runs

    found, chosen = load_suite(suite), choose_device(device)
    arms = list(dict.fromkeys(["main_only", "transfer", "control", *(arm or [])] if arm in (None, ["direct"]) else arm))
    runs = list_runs(
        found,
        output or Path("runs") / f"{suite}-{preset}",
        groups=group or [],
        arms=arms,
        seeds=seeds,
        preset=preset,
        changes=change or [],
        model=model,
        device=chosen,
    )
    failures = []
    try:
        for number, (run, failure) in enumerate(execute(runs, jobs=jobs, device=chosen), start=1):
            typer.echo(f"[{number}/{len(runs)}] {run.name}: {failure or 'done'}", err=True)
            failures += [run.name] if failure else []
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. Run the same command again to go on from the last saved steps.", err=True)
        raise typer.Exit(130) from None
    finished = [run for run in runs if run.name not in failures]
    for run in finished:
        if run.plan.seed == 0:  # the examples are the same for every seed
            record = read_training_record(run.folder)
            read = f"{record.tokens:,} tokens, of which {record.target_tokens:,} in targets"
            typer.echo(f"{run.plan.group} {run.plan.arm}: trained on {read}")
    typer.echo()
    print_comparison(score_trained([rescore(run.folder / RESULT) for run in finished], found), names=group or [])
    if failures:
        raise LgbenchError(f"{len(failures)} of {len(runs)} runs failed: {', '.join(failures)}. See above.")
