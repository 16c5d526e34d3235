"""The one command builder of all experiments: their own options, and those that every experiment has."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lgbench.cli._options import Cores, Device, Executor, HookOptions, Hooks, Jobs, Quiet, RunsFolder
from lgbench.cli._streams import stdout_to_stderr
from lgbench.experiments.base import Experiment
from lgbench.experiments.options import Field, converted, fields_of
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra
from lgbench.util.stopping import INTERRUPTED
from lgbench.util.text import LONGEST_PATH, json_text, plain

if TYPE_CHECKING:
    from lgbench.cli._live import Whole
    from lgbench.experiments.base import Report, Run
    from lgbench.experiments.launching import Outcome
    from lgbench.experiments.loading import Loaded
    from lgbench.experiments.monitor import Monitor

DryRun = Annotated[bool, typer.Option("--dry-run", help="List the runs, with an estimate of the time, and exit.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON on stdout, and nothing else.")]
Index = Annotated[
    int | None,
    typer.Option("--index", min=0, metavar="I", help="With --of: only every N-th run, starting at number I."),
]
Of = Annotated[
    int | None,
    typer.Option("--of", min=1, metavar="N", help="Divide the runs among N commands, with --index 0 to N - 1."),
]


@dataclass(frozen=True, kw_only=True)
class How:
    """What a user chose of how an experiment runs, whichever experiment it is."""

    output: Path | None = None
    hook: Sequence[str] | None = None
    hook_option: Sequence[str] | None = None
    jobs: int = 1
    cores: int | None = None
    executor: str = "local"
    device: str = "auto"
    index: int | None = None
    of: int | None = None
    dry_run: bool = False
    as_json: bool = False
    quiet: bool = False


_HOW: dict[str, Any] = {
    "output": RunsFolder,
    "hook": Hooks,
    "hook_option": HookOptions,
    "jobs": Jobs,
    "cores": Cores,
    "executor": Executor,
    "device": Device,
    "index": Index,
    "of": Of,
    "dry_run": DryRun,
    "as_json": AsJson,
    "quiet": Quiet,
}


def command_of(kind: type[Experiment]) -> Callable[..., None]:
    """The command of an experiment: its fields as options, and those of `How`."""
    common = {name: each for name, each in _HOW.items() if kind.takes_hooks or name not in ("hook", "hook_option")}

    def command(**given: Any) -> None:
        how = How(**{name: given.pop(name) for name in common})
        texts = {name: value for name, value in given.items() if value is not None and value != []}
        reference = f"{kind.__module__}:{kind.__qualname__}"
        run_experiment(kind, reference, texts, how, command=f"lgbench {kind.__name__.lower()}")

    parameters = [_parameter(each) for each in fields_of(kind)]
    parameters += [_keyword(name, annotation, getattr(How, name)) for name, annotation in common.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in parameters}
    command.__doc__ = inspect.getdoc(kind)
    return command


def _parameter(field: Field) -> inspect.Parameter:
    """A field as text: pydantic converts it, for every experiment alike, once the command has begun."""
    option, kind = field.option, list[str] if field.is_list else str
    if option.argument:
        return _keyword(field.name, Annotated[kind, typer.Argument(metavar=field.flag, help=option.help)], ...)
    metavar = option.metavar or ("N" if field.kind in (int, tuple[int, ...]) else "TEXT")
    if field.default is MISSING:
        declared = typer.Option(field.flag, metavar=metavar, help=option.help)
        return _keyword(field.name, Annotated[kind, declared], ...)
    declared = typer.Option(field.flag, metavar=metavar, help=option.help, show_default=option.shown or True)
    default = None if field.is_list or field.default is None else str(field.default)
    return _keyword(field.name, Annotated[kind | None, declared], default)


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    default = inspect.Parameter.empty if default is ... else default
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def run_experiment(
    kind: type[Experiment], reference: str, given: Mapping[str, str | Sequence[str]], how: How, *, command: str
) -> None:
    """Plan, launch and report an experiment.

    Args:
        kind: Its class.
        reference: Where another process finds the class.
        given: Its options as text.
        how: How to run it.
        command: What the user called, for messages.

    Raises:
        LgbenchError: An option does not fit, or runs failed.
        typer.Exit: Its report says that a check failed, or Ctrl-C ended it.
    """
    require_extra("torch", purpose=f"`{command}`")
    if not how.quiet:
        typer.echo("Planning ...", err=True)

    from lgbench.experiments.executors import check_executor
    from lgbench.experiments.launching import check_folders, shared_out
    from lgbench.experiments.loading import Loaded
    from lgbench.models.devices import choose_device
    from lgbench.util.links import refuse_links

    experiment = kind(**converted(kind, given))
    with stdout_to_stderr():  # what the user's own files print
        experiment.prepare()
    if how.output is None and experiment.needs_output is not None:
        raise LgbenchError(experiment.needs_output)
    if how.output is None and how.hook:
        raise LgbenchError("With --hook the runs are not those of the plain command: name their folder with --output.")
    device = choose_device(how.device)
    with stdout_to_stderr():
        check_executor(how.executor)
    root = how.output or Path("runs") / experiment.title
    refuse_links(root)

    def plan() -> list[Run]:
        with stdout_to_stderr():
            planned = shared_out(_with_hooks(experiment.runs(root, device), how), how.index, how.of)
        check_folders(planned)
        return planned

    runs = plan()
    if not runs:
        typer.echo("This share is empty: fewer runs are planned than --of says.", err=True)
    for note in [] if how.quiet else [*experiment.notes(), *_warnings(runs)]:
        typer.echo(plain(note, limit=2000), err=True)
    if how.dry_run:
        _print_plan(experiment, runs, device, how)
        return
    loaded = Loaded(experiment=experiment, reference=reference)
    runs, outcomes = _launch_rounds(loaded, runs, plan, device, how)
    _report(experiment, runs, outcomes, root, how)


def _warnings(runs: Sequence[Run]) -> list[str]:
    """What keeps runs from being submitted, whichever experiment they are of."""
    from lgbench.methods.registry import not_to_submit

    with stdout_to_stderr():  # what the user's own files print
        return not_to_submit(run.plan for run in runs)


def _report(experiment: Experiment, runs: list[Run], outcomes: list[Outcome], root: Path, how: How) -> None:
    """Report the runs that finished, and say which did not.

    Raises:
        LgbenchError: Runs failed.
        typer.Exit: The report says that a check failed.
    """
    from lgbench.experiments.launching import State

    by_state = {state: [each.run for each in outcomes if each.state is state] for state in State}
    ended = {run.folder for run in by_state[State.FINISHED]}
    finished = [run for run in runs if run.folder in ended]
    if finished and not how.quiet:
        where = finished[0].folder if len(runs) == 1 else root
        typer.echo(f"The run{'s are' if len(runs) > 1 else ' is'} in {plain(where, limit=LONGEST_PATH)}.", err=True)
        typer.echo("Writing the report ...", err=True)  # which may score every run again
    report = experiment.report(finished) if finished else None
    _print(report, outcomes, how)
    _tell_left(by_state[State.ELSEWHERE], quiet=how.quiet)
    if failed := by_state[State.FAILED]:
        names = "; ".join(run.name for run in failed)
        raise LgbenchError(f"{len(failed)} of {len(runs)} runs failed: {names}. See above.")
    if report is not None and not report.passed:
        raise typer.Exit(1)


def _launch_rounds(
    loaded: Loaded, runs: list[Run], plan: Callable[[], list[Run]], device: str, how: How
) -> tuple[list[Run], list[Outcome]]:
    """Every run, and where the experiment plans again those that follow, until none does; all runs and their ends."""
    from lgbench.experiments.launching import State

    experiment = loaded.experiment
    outcomes = _launch(loaded, runs, device, how)
    while experiment.plans_again and all(each.state is State.FINISHED for each in outcomes):
        so_far = {(run.folder, experiment.last_step(run)) for run in runs}
        runs = plan()
        new = [run for run in runs if (run.folder, experiment.last_step(run)) not in so_far]
        if not new:
            break
        renewed = {run.folder for run in new}
        outcomes = [each for each in outcomes if each.run.folder not in renewed] + _launch(loaded, new, device, how)
    return runs, outcomes


def _with_hooks(runs: Iterable[Run], how: How) -> list[Run]:
    """The runs with the hooks that the user named, whichever experiment they are of."""
    from lgbench.training.hooks import planned_hooks

    with stdout_to_stderr():  # what the user's own files print
        hooks = planned_hooks(how.hook or [], how.hook_option or [])
    plans = [(run, run.plan.model_copy(update={"hooks": (*run.plan.hooks, *hooks)})) for run in runs]
    return [run._replace(plan=plan) for run, plan in plans]


def _launch(loaded: Loaded, runs: Sequence[Run], device: str, how: How) -> list[Outcome]:
    """Every run, with a line for each that ends. Ctrl-C ends the command."""
    from lgbench.cli._live import Whole, monitor_of
    from lgbench.experiments.executors import open_executor
    from lgbench.experiments.launching import launch

    outcomes: list[Outcome] = []
    whole = Whole(len(runs))

    def monitor(run: Run) -> Monitor:
        return monitor_of(run.name, whole=whole, quiet=how.quiet)

    try:
        with ExitStack() as stack:
            stack.enter_context(stdout_to_stderr())  # what runs in this process print
            executor = stack.enter_context(
                open_executor(how.executor, jobs=max(1, min(how.jobs, len(runs))), cores_each=how.cores, device=device)
            )
            for outcome in launch(loaded, runs, executor=executor, device=device, quiet=how.quiet, monitor=monitor):
                outcomes.append(outcome)
                whole.count()
                _tell_ended(loaded.experiment, runs, outcomes, whole, quiet=how.quiet)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. Run the same command again to resume from the last saved steps.", err=True)
        raise typer.Exit(INTERRUPTED) from None
    return outcomes


def _tell_ended(
    experiment: Experiment, runs: Sequence[Run], outcomes: Sequence[Outcome], whole: Whole, *, quiet: bool
) -> None:
    """A line for the run that ended last, and what it completes."""
    from lgbench.experiments.launching import State

    last = outcomes[-1]
    if quiet and not last.failure:
        return
    ended = [last.failure or last.state.value] + ([whole.left] if whole.left and not quiet else [])
    typer.echo(f"[{whole.done}/{whole.total}] {last.run.name}: {'; '.join(ended)}", err=True)
    if last.state is State.FINISHED and not quiet:
        for sentence in experiment.milestones(runs, [each.run for each in outcomes if each.state is State.FINISHED]):
            typer.echo(plain(sentence, limit=2000), err=True)


def _print(report: Report | None, outcomes: Sequence[Outcome], how: How) -> None:
    if how.as_json:
        runs = [
            {
                "name": each.run.name,
                "folder": str(each.run.folder),
                "state": each.state.name.lower(),
                "failure": each.failure,
            }
            for each in outcomes
        ]
        typer.echo(json_text({"runs": runs, "report": None if report is None else report.record}))
    elif report is not None:
        from lgbench.cli._tables import print_parts

        print_parts(report.parts)


def _tell_left(runs: Sequence[Run], *, quiet: bool) -> None:
    if runs and not quiet:
        names = "; ".join(run.name for run in runs)
        typer.echo(
            f"{len(runs)} run{'s are' if len(runs) > 1 else ' is'} being done by another process: {names}. "
            "Run the same command again later for the whole report.",
            err=True,
        )


def _print_plan(experiment: Experiment, runs: Sequence[Run], device: str, how: How) -> None:
    """The planned runs, each with the seconds that its remaining steps will take about."""
    from lgbench.cli._tables import print_parts
    from lgbench.experiments.estimate import estimates, plan_table

    with stdout_to_stderr():
        times = estimates(experiment, runs, device)
    if how.as_json:
        rows = [
            {"name": run.name, "folder": str(run.folder), "steps_done": each.steps_done, "seconds": each.seconds}
            for run, each in zip(runs, times, strict=True)
        ]
        typer.echo(json_text({"runs": rows}))
        return
    print_parts(plan_table(experiment, runs, times, jobs=how.jobs))
