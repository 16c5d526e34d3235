"""`lgbench run`: an experiment of the user's own, from a file."""

from __future__ import annotations

from typing import Annotated

import typer

from lgbench.cli._experiment import AsJson, DryRun, How, Index, Of, run_experiment
from lgbench.cli._options import Cores, Device, Executor, HookOptions, Hooks, Jobs, Quiet, RunsFolder
from lgbench.util.errors import LgbenchError


def command(
    study: Annotated[str, typer.Argument(metavar="FILE.py:CLASS", help="An experiment (docs/experiments.md).")],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of the experiment; may be repeated."),
    ] = None,
    output: RunsFolder = None,
    hook: Hooks = None,
    hook_option: HookOptions = None,
    jobs: Jobs = 1,
    cores: Cores = None,
    executor: Executor = "local",
    device: Device = "auto",
    index: Index = None,
    of: Of = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run your own experiment and print its report. Rerun to resume."""
    from lgbench.experiments.loading import load_experiment

    given: dict[str, list[str]] = {}
    for text in option or []:
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise LgbenchError(f"--option {text!r} does not read as name=value.")
        given.setdefault(name, []).append(value)
    texts = {name: values[0] if len(values) == 1 else values for name, values in given.items()}
    how = How(
        output=output,
        hook=hook,
        hook_option=hook_option,
        jobs=jobs,
        cores=cores,
        executor=executor,
        device=device,
        index=index,
        of=of,
        dry_run=dry_run,
        as_json=as_json,
        quiet=quiet,
    )
    run_experiment(load_experiment(study), study, texts, how, command="lgbench run")
