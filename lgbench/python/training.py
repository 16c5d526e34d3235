"""`train` and `reproduce`."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgbench.data.drafts import open_suite
from lgbench.data.suites import Suite
from lgbench.experiments.launching import State, check_folders, launch
from lgbench.experiments.loading import Loaded
from lgbench.experiments.reproduce import Reproduce
from lgbench.python.progress import BarMonitor, bar, is_shown, training_bar
from lgbench.python.results import Results, read_result
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra
from lgbench.util.links import refuse_links
from lgbench.util.text import key_values

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from lgbench.experiments.base import Run
    from lgbench.experiments.monitor import Monitor
    from lgbench.models.checkpoint import Build
    from lgbench.training.hooks import Hook
    from lgbench.training.method import Method
    from lgbench.training.record import TrainingRecord
    from lgbench.training.trainer import Progress


def train(
    group: str,
    arm: str,
    *,
    suite: str | Suite = "mini-v1",
    seed: int = 0,
    preset: str = "tuned",
    settings: Mapping[str, object] | None = None,
    model: str | Build | None = None,
    model_options: Mapping[str, object] | None = None,
    method: str | type[Method] | Method | None = None,
    method_options: Mapping[str, object] | None = None,
    start: str | Path | None = None,
    start_parts: Sequence[str] = (),
    hooks: Sequence[Hook] = (),
    device: str = "auto",
    output: str | Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingRecord:
    """Train a model under one arm of a group, as `lgbench train` does.

    Args:
        group: A group of the suite.
        arm: A trained arm of the group.
        suite: A suite or its name.
        seed: Of the model's initial weights.
        preset: The hyperparameters to start from: `tuned`, `mini` or `paper`.
        settings: Those to change, by the names in docs/settings.md.
        model: A function from the vocabulary's size to a module, or its name as in `file.py:build`; None for the
            reference model. It must be found by its name: a lambda cannot be recorded.
        model_options: Arguments of that function.
        method: What changes the training: one of `lgbench methods`, `file.py:attribute`, a subclass of `Method`, or an
            instance of one. A class must be found by its name. None for the plain run.
        method_options: Its options; none with an instance, which has them.
        start: Start from the weights of this checkpoint; None for fresh weights.
        start_parts: Only from parameters with such names, as in `blocks.*`.
        hooks: Called while it trains.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        output: The run's folder, which gets `training.json` and the folder `checkpoint`; None for one in runs/training.
        resume: Resume the run in that folder.
        progress: Whether to show a bar; None shows it in a notebook and in a terminal.
        on_progress: Called every few steps.

    Returns:
        What `training.json` holds, with the curve.

    Raises:
        LgbenchError: A name or a setting does not exist, the folder holds another run, or the extra `torch` is missing.
        ModelError: The module or a hook raised.
    """
    require_extra("torch", purpose="lgbench.train")

    from lgbench.methods.registry import choose_method
    from lgbench.models.devices import choose_device
    from lgbench.training.modules import planned_build
    from lgbench.training.planned import planned_start
    from lgbench.training.spec import Recipe
    from lgbench.training.trainer import train as run

    given_hooks: object = hooks
    if not isinstance(given_hooks, Sequence):
        raise LgbenchError(f"hooks must be a list of hooks, as in hooks=[MyHook()]; {given_hooks!r:.100} is not one.")
    opened, chosen = open_suite(suite), choose_device(device)
    recipe = Recipe(
        opened,
        preset=preset,
        changes=_texts(settings, "settings"),
        model=model_name(model),
        model_options=key_values(_texts(model_options, "model_options"), flag="--model-option"),
        start=planned_start(None if start is None else str(start), start_parts),
        method=choose_method(*_named_method(method, method_options)),
        device=chosen,
    )
    plan = recipe.plan(group, arm, seed)
    folder = Path(output or Path("runs", "training", f"{opened.name}-{group}-{arm}-seed{seed}"))
    with training_bar(progress, steps=plan.settings.steps) as show:

        def report(moved: Progress) -> None:
            show(moved)
            if on_progress is not None:
                on_progress(moved)

        record = run(
            plan,
            folder,
            build=planned_build(plan),
            device=chosen,
            resume=resume,
            report=report,
            hooks=list(hooks),
            method=None if recipe.method is None else recipe.method.method,
        )
    return record.in_folder(folder)


def reproduce(
    groups: str | Sequence[str] = (),
    *,
    arms: str | Sequence[str] = (),
    seeds: int | Sequence[int] = 5,
    suite: str | Suite = "mini-v1",
    preset: str = "tuned",
    settings: Mapping[str, object] | None = None,
    model: str | Build | None = None,
    model_options: Mapping[str, object] | None = None,
    method: str | type[Method] | Method | None = None,
    method_options: Mapping[str, object] | None = None,
    device: str = "auto",
    jobs: int = 1,
    output: str | Path | None = None,
    progress: bool | None = None,
) -> Results:
    """Train and evaluate every arm and seed of groups, as `lgbench reproduce` does. Call it again to resume.

    Args:
        groups: Groups of the suite; empty for all.
        arms: Arms; empty for `main_only`, `transfer` and `control`. `direct` and `short_aux` join these.
        seeds: How many, or which.
        suite: A suite or its name.
        preset: The hyperparameters to start from: `tuned`, `mini` or `paper`.
        settings: Those to change.
        model: As for `train`. With `jobs` above 1 it must be in a file.
        model_options: As for `train`.
        method: As for `train`.
        method_options: As for `train`.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        jobs: Runs at a time, each with its share of the cores.
        output: The folder of the runs' folders; None for one in runs/.
        progress: Whether to show a bar; None shows it in a notebook and in a terminal.

    Returns:
        The results of the runs, with the folder's name as their label.

    Raises:
        LgbenchError: A name or a setting does not exist, the folder holds other runs, or runs failed; the other runs
            are finished first.
    """
    require_extra("torch", purpose="lgbench.reproduce")

    from lgbench.models.devices import choose_device
    from lgbench.models.folders import RESULT

    name_of_method, options_of_method = _named_method(method, method_options)
    experiment = Reproduce(
        suite=suite if isinstance(suite, str) else open_suite(suite).name,
        preset=preset,
        change=tuple(_texts(settings, "settings")),
        model=model_name(model),
        model_option=tuple(_texts(model_options, "model_options")),
        method=name_of_method,
        method_option=tuple(options_of_method),
        group=(groups,) if isinstance(groups, str) else tuple(groups),
        arm=(arms,) if isinstance(arms, str) else tuple(arms),
        seeds=seeds if isinstance(seeds, int) else 1,
        seed=() if isinstance(seeds, int) else tuple(seeds),
    )
    if output is None and experiment.needs_output is not None:
        raise LgbenchError(
            "With settings, a method or a model of yours the runs are not the preset's: name their folder by output."
        )
    if jobs < 1 or (isinstance(seeds, int) and seeds < 1) or seeds == ():
        raise LgbenchError(f"jobs={jobs} and seeds={seeds!r} must each be at least 1.")
    experiment.prepare()
    chosen, root = choose_device(device), Path(output or Path("runs", experiment.title))
    refuse_links(root)
    runs = list(experiment.runs(root, chosen))
    check_folders(runs)
    finished = _launched(experiment, runs, device=chosen, jobs=jobs, progress=progress)
    return Results([read_result(run.folder / RESULT, label=root.absolute().name) for run in finished])


def _launched(
    experiment: Reproduce, runs: Sequence[Run], *, device: str, jobs: int, progress: bool | None
) -> list[Run]:
    """The runs that are finished, in their order.

    Raises:
        LgbenchError: Some failed.
    """
    steps = [run.plan.settings.steps for run in runs]
    before = {run.folder: sum(steps[:number]) for number, run in enumerate(runs)}
    with bar(progress, total=sum(steps), unit="steps") as shown, _executor(jobs, device) as executor:

        def monitor(run: Run) -> Monitor:
            return BarMonitor(run, shown, before=before[run.folder])

        loaded = Loaded.of(experiment)
        outcomes = []
        for outcome in launch(loaded, runs, executor=executor, device=device, quiet=True, monitor=monitor):
            outcomes.append(outcome)
            if executor is not None and is_shown(progress):
                shown.update(outcome.run.plan.settings.steps)
    if failed := [f"{each.run.name}: {each.failure}" for each in outcomes if each.state is State.FAILED]:
        raise LgbenchError("\n".join([f"{len(failed)} of {len(runs)} runs failed:", *failed]))
    for each in outcomes:
        if each.state is State.ELSEWHERE:
            warnings.warn(f"Left out: {each.run.name} is being done by another process.", stacklevel=3)
    done = {each.run.folder for each in outcomes if each.state is State.FINISHED}
    return [run for run in runs if run.folder in done]


@contextlib.contextmanager
def _executor(jobs: int, device: str) -> Iterator[Executor | None]:
    """What several runs at a time are executed by; None for one after another, in this process."""
    if jobs == 1:
        yield None
        return
    from lgbench.experiments.executors import LOCAL, open_executor

    with open_executor(LOCAL, jobs=jobs, cores_each=None, device=device) as executor:
        yield executor


def _texts(options: Mapping[str, object] | None, what: str) -> list[str]:
    """Settings or options as the command line has them.

    Raises:
        LgbenchError: They are no mapping.
    """
    given: object = {} if options is None else options  # it may be of any type
    if not isinstance(given, Mapping):
        raise LgbenchError(
            f"{what} must be a dictionary from names to values, as in {what}={{'name': value}}; {given!r:.100} is of "
            f"type {type(given).__name__}."
        )
    return [f"{name}={value}" for name, value in given.items()]


def _named_method(
    method: str | type[Method] | Method | None, options: Mapping[str, object] | None
) -> tuple[str | None, list[str]]:
    """A method and its options as the command line has them.

    Raises:
        LgbenchError: It is no method, its class cannot be found again by its name, or an instance has further options.
    """
    from lgbench.methods.registry import METHODS
    from lgbench.training.method import Method

    texts = _texts(options, "method_options")
    if method is None or isinstance(method, str):
        return method, texts
    if isinstance(method, Method):
        if texts:
            raise LgbenchError(
                f"method is an instance of {type(method).__name__}, which has its options already. Give the class with "
                "method_options, or the instance alone."
            )
        texts = [f"{name}={text}" for name, text in method.texts().items()]
        method = type(method)
    given: object = method
    if not (isinstance(given, type) and issubclass(given, Method)):
        raise LgbenchError(
            f"method={given!r:.100} is not a method. Give a name of `lgbench methods`, 'file.py:attribute', or a "
            "subclass of lgbench.training.method.Method."
        )
    own = next((name for name, kind in METHODS.items() if kind is given), None)
    return own or _recorded_name(given, "class"), texts


def model_name(model: str | Callable[..., Any] | None) -> str | None:
    """What a record calls the function that builds a module.

    Raises:
        LgbenchError: A function that cannot be found again by its name.
    """
    return model if model is None or isinstance(model, str) else _recorded_name(model, "function")


def _recorded_name(found: Callable[..., Any], what: str) -> str:
    """`module:name` of a function or class of the user's.

    Raises:
        LgbenchError: It cannot be found again by this name.
    """
    module, name = getattr(found, "__module__", None), getattr(found, "__qualname__", "")
    if module is None or getattr(sys.modules.get(module), name, None) is not found:
        raise LgbenchError(
            f"{found!r:.200} cannot be found again by its name, which is recorded. Define the {what} at the top of the "
            f"notebook or of a module, with {'def' if what == 'function' else 'class'}, or name it as in "
            f"'my_module.py:{'build' if what == 'function' else 'MyMethod'}'."
        )
    return f"{module}:{name}"
