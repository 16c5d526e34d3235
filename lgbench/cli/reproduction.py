"""`lgbench reproduce`: train and evaluate every arm and seed, then compare the arms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli.opening import opened
from lgbench.cli.options import (
    Build,
    Changes,
    Device,
    Groups,
    Jobs,
    Preset,
    RunsFolder,
    Seeds,
    SuiteName,
    listed,
    listed_seeds,
)
from lgbench.cli.runs import finish_all, runs_folder, tell_failures
from lgbench.extras import require_extra

if TYPE_CHECKING:
    from lgbench.training.runs import Run


def command(
    suite: SuiteName = "mini-v1",
    group: Groups = None,
    arm: Annotated[
        list[str] | None,
        typer.Option(
            help="An arm, or several joined by commas; may be repeated. `--arm direct,short_aux` adds these two.",
            show_default="main_only, transfer, control",
        ),
    ] = None,
    seeds: Seeds = 3,
    seed: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N",
            help="Train this seed instead, or several joined by commas; may be repeated.",
            show_default="0 to SEEDS - 1",
        ),
    ] = None,
    preset: Preset = "mini",
    change: Changes = None,
    model: Build = None,
    device: Device = "auto",
    jobs: Jobs = 1,
    output: RunsFolder = None,
) -> None:
    """Train and evaluate every arm and seed, then say whether transfer was seen. Call it again to go on."""
    require_extra("torch", purpose="`lgbench reproduce`")
    typer.echo("Planning ...", err=True)

    from lgbench.cli.comparison import print_comparison
    from lgbench.models.devices import choose_device
    from lgbench.rescoring import rescore
    from lgbench.scoring.systems import score_trained
    from lgbench.training.plans import Recipe
    from lgbench.training.reproduction import RESULT, finish_run, list_runs, shared_runs

    groups, arms, numbers = listed(group), _arms(listed(arm)), listed_seeds(seed) or range(seeds)
    found, chosen = opened(suite), choose_device(device)
    recipe = Recipe(found, preset=preset, changes=change or [], model=model, device=chosen)
    root = runs_folder(output, f"{found.name}-{preset}", changes=change, model=model)
    runs = list_runs(recipe, root, groups=groups, arms=arms, seeds=numbers)
    for sentence in shared_runs(found, groups=groups, arms=arms):
        typer.echo(sentence, err=True)
    failed = finish_all(runs, finish_run, jobs=jobs, device=chosen)
    finished = [run for run in runs if run not in failed]
    _print_tokens(finished)
    typer.echo()
    print_comparison(score_trained([rescore(run.folder / RESULT) for run in finished], found), names=groups)
    tell_failures(failed, runs)


def _arms(given: list[str]) -> list[str]:
    """Each arm once. Alone, `direct` and `short_aux` would be compared with nothing: they come on top of the others."""
    more = set(given) <= {"direct", "short_aux"}
    return list(dict.fromkeys(["main_only", "transfer", "control", *given] if more else given))


def _print_tokens(runs: list[Run]) -> None:
    """What each arm was trained on. The examples are the same for every seed."""
    from lgbench.training.record import read_training_record

    told: set[tuple[str, str]] = set()
    for run in runs:
        if (arm := (run.plan.group, run.plan.arm)) not in told:
            told.add(arm)
            record = read_training_record(run.folder)
            read = f"{record.tokens:,} tokens, of which {record.target_tokens:,} in targets"
            typer.echo(f"{' '.join(arm)}: trained on {read}")
