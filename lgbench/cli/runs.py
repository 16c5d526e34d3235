"""What `lgbench reproduce`, `sweep` and `ablate` share: many runs, told as they end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lgbench.errors import LgbenchError
from lgbench.links import refuse_links

if TYPE_CHECKING:
    from lgbench.training.runs import Finish, Run


def finish_all(runs: Sequence[Run], finish: Finish, *, jobs: int, device: str) -> list[Run]:
    """Finish runs with a line for each that ends; those that failed. Ctrl-C ends the command."""
    from lgbench.training.runs import execute

    failed = []
    try:
        for number, (run, failure) in enumerate(execute(runs, finish, jobs=jobs, device=device), start=1):
            typer.echo(f"[{number}/{len(runs)}] {run.name}: {failure or 'done'}", err=True)
            failed += [run] if failure else []
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. Run the same command again to go on from the last saved steps.", err=True)
        raise typer.Exit(130) from None
    return failed


def runs_folder(output: Path | None, usual: str, *, changes: Sequence[str] | None, model: str | None) -> Path:
    """The folder of the runs' folders: what the user named, or one in runs/ for what the preset trains.

    Raises:
        LgbenchError: None is named, and the runs are others than the preset's, which would lie there; or it is a link.
    """
    if output is None and (changes or model is not None):
        raise LgbenchError("With --set or --model the runs are not the preset's: name their folder with --output.")
    folder = output or Path("runs") / usual
    refuse_links(folder)
    return folder


def tell_failures(failed: Sequence[Run], runs: Sequence[Run]) -> None:
    """End the command with an error if runs failed.

    Raises:
        LgbenchError: Some did.
    """
    if failed:
        names = "; ".join(run.name for run in failed)
        raise LgbenchError(f"{len(failed)} of {len(runs)} runs failed: {names}. See above.")
