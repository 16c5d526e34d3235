"""`lgbench train`: train a model under one arm of a group."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lgbench.cli.options import ArmName, Build, Changes, Device, GroupName, Preset, Quiet, Resume, RunFolder, SuiteName
from lgbench.extras import require_extra

if TYPE_CHECKING:
    from lgbench.suites import Group
    from lgbench.training.plans import TrainingPlan
    from lgbench.training.record import TrainingRecord
    from lgbench.training.trainer import Progress


def command(
    group: GroupName,
    arm: ArmName,
    suite: SuiteName = "mini-v1",
    seed: Annotated[int, typer.Option(min=0, help="Of the model's initial weights.")] = 0,
    preset: Preset = "mini",
    change: Changes = None,
    model: Build = None,
    device: Device = "auto",
    output: RunFolder = None,
    resume: Resume = False,
    quiet: Quiet = False,
) -> None:
    """Train a model under one arm of a group and leave a checkpoint that `lgbench eval` reads."""
    require_extra("torch", "torch", "safetensors", purpose="`lgbench train`")
    if not quiet:
        typer.echo(f"Training {group}, arm {arm}, seed {seed} ...", err=True)

    from lgbench.models.devices import choose_device
    from lgbench.models.loading import load_build
    from lgbench.suites import load_suite
    from lgbench.training.plans import plan_training
    from lgbench.training.trainer import train

    found = load_suite(suite).group(group)
    chosen = choose_device(device)
    plan = plan_training(
        load_suite(suite),
        group,
        arm,
        seed=seed,
        preset=preset,
        changes=change or [],
        model=model,
        device=chosen,
    )
    folder = output or Path("runs") / "training" / f"{suite}-{group}-{arm}-seed{seed}"
    build = load_build(model) if model else None
    say_where_it_starts(folder, resume=resume, quiet=quiet)
    display = Display(found, plan, quiet=quiet)
    try:
        record = train(plan, folder, build=build, device=chosen, resume=resume, report=display.show)
    except KeyboardInterrupt:
        say_interrupted(folder)
        raise typer.Exit(130) from None
    finally:
        display.close()
    if not quiet:
        typer.echo(summary(record))
        typer.echo(f"Evaluate it:\n  {_evaluation(record, folder)}")


def say_where_it_starts(folder: Path, *, resume: bool, quiet: bool) -> None:
    """Warn where `--resume` finds nothing to go on from."""
    from lgbench.training.record import RECORD

    if resume and not quiet and not (folder / RECORD).exists():
        typer.echo(f"There is no run in {str(folder)!r} to go on with: this one starts at step 0.", err=True)


def say_interrupted(folder: Path) -> None:
    """Say what an interrupted run has left."""
    from lgbench.training.record import RECORD, read_training_record

    if (folder / RECORD).exists():
        saved = read_training_record(folder).steps_done
        typer.echo(f"\nInterrupted. Go on from step {saved} with --resume --output {folder}", err=True)
    else:
        typer.echo("\nInterrupted before anything was saved. See --set evaluate_every.", err=True)


class Display:
    """Loss and speed while a run trains, and a line for each point of its curve. On stderr.

    Args:
        group: The group that is trained for.
        plan: The run.
        quiet: Show nothing.
    """

    def __init__(self, group: Group, plan: TrainingPlan, *, quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        columns = (TextColumn("step {task.completed} of {task.total}"), BarColumn(), TextColumn("{task.description}"))
        self._bar = Bar(*columns, TimeRemainingColumn(), console=console, transient=True, disable=quiet)
        self._quiet, self._group = quiet, group
        self._terminal = console.is_terminal
        self._steps = plan.settings.steps
        self._row = self._bar.add_task("", total=self._steps)
        if self._terminal:
            self._bar.start()

    def show(self, progress: Progress) -> None:
        """Take in a report of the run."""
        from lgbench.training.curve import zones_line

        speed = f"loss {progress.loss:.3f}, {progress.examples_per_second:,.0f} examples/s"
        self._bar.update(self._row, completed=progress.step, description=speed)
        if progress.point is not None and not self._quiet:
            line = f"step {progress.step}/{self._steps}: {speed}; {zones_line(self._group, progress.point)}"
            self._bar.console.print(line, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Clear the live display."""
        self._bar.stop()


def summary(record: TrainingRecord) -> str:
    """What a finished run has cost."""
    examples = record.plan.settings.steps * record.plan.settings.batch
    memory = "" if record.peak_memory is None else f", with {record.peak_memory / 1e6:,.0f} MB of memory at most"
    return (
        f"Trained {record.parameters:,} parameters on {examples:,} examples ({record.tokens:,} tokens, of which "
        f"{record.target_tokens:,} in targets) in {record.seconds:,.0f} s{utilization(record)}{memory}."
    )


def _evaluation(record: TrainingRecord, folder: Path) -> str:
    """The command that evaluates the checkpoint of a run."""
    plan = record.plan
    command = ["lgbench", "eval", str(folder / "checkpoint"), "--suite", plan.suite, "--group", plan.group]
    command += ["--arm", plan.arm, "--seed", str(plan.seed)]
    if plan.model != "reference":
        command += ["--model-option", f"build={plan.model}"]
    return shlex.join(command)


def utilization(record: TrainingRecord) -> str:
    """How fast the model's matrices were multiplied, and the share of the device's peak, where these are known."""
    from lgbench.models.devices import peak_flops

    if record.flops is None:
        return ""
    seconds = max(record.seconds, 0.1)  # a record rounds to tenths
    rate, peak = record.flops / seconds, peak_flops(record.machine.device)
    share = "" if peak is None else f", {rate / peak:.1%} of the device's peak in bfloat16"
    return f": {rate / 1e12:.3g} TFLOP/s in its matrices{share}"
