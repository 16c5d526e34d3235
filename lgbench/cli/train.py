"""`lgbench train`: train a model under one arm of a group."""

from __future__ import annotations

import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli._opening import opened
from lgbench.cli._options import (
    MAX_SEED,
    ArmName,
    Build,
    Changes,
    Device,
    GroupName,
    HookOptions,
    Hooks,
    MethodName,
    MethodOptions,
    ModelOptions,
    Preset,
    Quiet,
    Resume,
    RunFolder,
    Start,
    StartParts,
    SuiteName,
    model_options,
)
from lgbench.util.extras import require_extra
from lgbench.util.stopping import INTERRUPTED
from lgbench.util.text import plain

if TYPE_CHECKING:
    from lgbench.training.record import CurvePoint
    from lgbench.training.spec import RunSpec
    from lgbench.training.trainer import Progress


def command(
    group: GroupName,
    arm: ArmName,
    suite: SuiteName = "mini-v1",
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the model's initial weights.")] = 0,
    preset: Preset = "tuned",
    change: Changes = None,
    model: Build = None,
    model_option: ModelOptions = None,
    method: MethodName = None,
    method_option: MethodOptions = None,
    start: Start = None,
    start_parts: StartParts = None,
    hook: Hooks = None,
    hook_option: HookOptions = None,
    device: Device = "auto",
    output: RunFolder = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a model under one arm of a group and save a checkpoint that `lgbench eval` reads."""
    require_extra("torch", purpose="`lgbench train`")
    if not quiet:
        how = f", method {method}" if method else ""
        typer.echo(f"Training {group}, arm {arm}, seed {seed}{how} ...", err=True)

    from lgbench.methods.registry import choose_method, not_to_submit
    from lgbench.models.devices import choose_device
    from lgbench.training.costs import cost
    from lgbench.training.evaluated import evaluation_command
    from lgbench.training.hooks import make_hooks, planned_hooks
    from lgbench.training.modules import planned_build
    from lgbench.training.planned import planned_start
    from lgbench.training.spec import Recipe
    from lgbench.training.trainer import train

    found, chosen = opened(suite), choose_device(device)
    recipe = Recipe(
        found,
        preset=preset,
        changes=change or [],
        model=model,
        model_options=model_options(model_option or []),
        start=planned_start(start, start_parts or []),
        hooks=planned_hooks(hook or [], hook_option or []),
        method=choose_method(method, method_option or []),
        device=chosen,
    )
    plan = recipe.plan(group, arm, seed)
    for warning in [] if quiet else not_to_submit([plan]):
        typer.echo(plain(warning, limit=2000), err=True)
    folder = output or Path("runs") / "training" / f"{found.name}-{group}-{arm}-seed{seed}"
    build, hooks = planned_build(plan), make_hooks(plan)
    with shown(plan, folder, resume=resume, quiet=quiet) as report:
        record = train(
            plan,
            folder,
            build=build,
            device=chosen,
            resume=resume,
            report=report,
            hooks=hooks,
            method=None if recipe.method is None else recipe.method.method,
        )
    if quiet:
        return
    typer.echo(cost(record))
    if record.finished:
        typer.echo(f"Evaluate it:\n  {evaluation_command(record, folder)}")
    else:
        typer.echo(f"Resume from step {record.steps_done} with:\n  {_resuming(resume=resume)}")


@contextlib.contextmanager
def shown(plan: RunSpec, folder: Path, *, resume: bool, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """What a run reports to is shown within the block, and what Ctrl-C leaves of the run is said.

    Args:
        plan: The run.
        folder: Its folder.
        resume: Whether it goes on with what is in the folder.
        quiet: Show no progress.
    """
    from lgbench.training.record import RECORD
    from lgbench.training.state import STATE

    if resume and not quiet and not any((folder / name).exists() for name in (STATE, RECORD)):
        typer.echo(f"There is no run in {str(folder)!r} to resume: this one starts at step 0.", err=True)
    display = Display(plan, quiet=quiet)
    try:
        yield display.show
    except KeyboardInterrupt:
        _say_interrupted(folder, resume=resume)
        raise typer.Exit(INTERRUPTED) from None
    finally:
        display.close()


def _resuming(*, resume: bool) -> str:
    """The command that resumes this one's run: the same, with --resume where it was not `resume` already."""
    arguments = sys.argv[1:]
    if not resume:
        end = arguments.index("--") if "--" in arguments else len(arguments)  # what follows it is no option
        arguments.insert(end, "--resume")
    return shlex.join(["lgbench", *arguments])


def _say_interrupted(folder: Path, *, resume: bool) -> None:
    from lgbench.methods.pretraining import STATES
    from lgbench.training.record import RECORD, read_training_record
    from lgbench.training.state import read_state

    resumed = f"with:\n  {_resuming(resume=resume)}"
    if (state := read_state(folder)) is not None or (folder / RECORD).exists():
        record = state.record if state else read_training_record(folder)
        if state is None and record.finished:
            typer.echo(f"\nInterrupted after the last step: the run in {str(folder)!r} is trained.", err=True)
            return
        typer.echo(f"\nInterrupted. Resume from step {record.steps_done} {resumed}", err=True)
    elif any(folder.glob(STATES)):
        typer.echo(f"\nInterrupted before the first step. Resume the pretraining {resumed}", err=True)
    else:
        typer.echo("\nInterrupted before the first step was done: there was nothing to save.", err=True)


class Display:
    """Loss and speed while a run trains, and a line for each point of its curve. On stderr.

    Args:
        plan: The run.
        quiet: Show nothing.
        tell: How right the model is at a point, in words; None for the main task's accuracy by zone.
        name: What the lines begin with.
        below: A line below the bar: whose run it is.
    """

    def __init__(
        self,
        plan: RunSpec,
        *,
        quiet: bool,
        tell: Callable[[CurvePoint], str] | None = None,
        name: str = "",
        below: str = "",
    ) -> None:
        from rich.progress import BarColumn, TextColumn

        from lgbench.cli._console import PlainConsole
        from lgbench.cli._progress import BarWithLine, TimeLeft
        from lgbench.training.points import zones_line

        console = PlainConsole(err=True)
        where = TextColumn("step {task.completed} of {task.total}")
        columns = (where, BarColumn(), TextColumn("{task.description}"))
        self._bar = BarWithLine(*columns, TimeLeft(), console=console, transient=True, disable=quiet)
        self._bar.below = below
        self._quiet, self._name = quiet, name
        self._tell = tell or partial(zones_line, plan)
        self._terminal = console.is_terminal
        self._steps = plan.settings.steps
        self._row = self._bar.add_task("", total=self._steps)
        if self._terminal:
            self._bar.start()

    def show(self, progress: Progress) -> None:
        """Take in a report of the run."""
        where = f"{self._name}step {progress.step}/{self._steps}"
        if progress.news:
            self._say(f"{where}: {progress.news}")
            return
        self._bar.update(self._row, completed=progress.step, description=progress.pace)
        if progress.point is not None:
            self._say(f"{where}: {progress.pace}; {self._tell(progress.point)}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            # In a terminal, lines end between words; a line of a log stays one.
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=not self._terminal)

    def close(self) -> None:
        """Clear the live display."""
        self._bar.stop()
