"""`lgbench eval`: run a model through a suite."""

from __future__ import annotations

import contextlib
import importlib.util
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lgbench.cli._new_run_folder import new_run_folder
from lgbench.cli._opening import opened
from lgbench.cli._options import (
    Cores,
    Executor,
    Lengths,
    ModelOptions,
    Quiet,
    Resume,
    RunFolder,
    SuiteName,
    Tasks,
    listed,
    listed_lengths,
    model_options,
)
from lgbench.cli._streams import stdout_to_stderr
from lgbench.util.errors import DamagedRunError, FolderTakenError, LgbenchError
from lgbench.util.stopping import INTERRUPTED

if TYPE_CHECKING:
    from lgbench.data.suites import Suite
    from lgbench.evaluation.loop import OnCell
    from lgbench.evaluation.planning import Plan
    from lgbench.models.loaded import Model, Trained
    from lgbench.results.schema import Result

    Load = Callable[[str, dict[str, str]], Model]

_SERIES_PICTURE = "series.svg"


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A built-in (oracle, random, echo), hf:FOLDER_OR_ID or hf:FOLDER_OR_ID@REVISION,..., api:NAME, "
            "replay:FILE.jsonl, tiny:ARM, FILE.py:ATTRIBUTE, a checkpoint folder, PACKAGE.MODULE:ATTRIBUTE, or what "
            "an installed package offers: see `lgbench models`.",
        ),
    ],
    suite: SuiteName = "mini-v1",
    group: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A group, or several joined by commas; a trained arm takes exactly one.",
            show_default="all",
        ),
    ] = None,
    task: Tasks = None,
    length: Lengths = None,
    arm: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How the model was trained: an arm of the group (`lgbench suites show`), or open for none.",
        ),
    ] = "open",
    seed: Annotated[int | None, typer.Option(help="The model's training seed, recorded in the result.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Evaluate only N examples of each cell, always the same ones. Cannot be submitted."),
    ] = None,
    batch_size: Annotated[
        str, typer.Option(metavar="auto|N", help="Number of prompts in one call of the model.")
    ] = "auto",
    model_option: ModelOptions = None,
    shots: Annotated[
        int | None,
        typer.Option(help="Number of worked examples in a prompt, for hf: and api: models. Also a model option."),
    ] = None,
    output: RunFolder = None,
    resume: Resume = False,
    executor: Executor = "local",
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            min=1,
            metavar="N",
            help="Number of processes that each hold the model and evaluate at the same time.",
            show_default="1; on Ray all",
        ),
    ] = None,
    cores: Cores = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a summary as JSON on stdout, and nothing else.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Run a model through a suite and write a result that anyone can check."""
    if resume and output is None:
        raise LgbenchError("--resume needs --output: the folder of the run to resume.")
    if not quiet:
        typer.echo(f"Loading {model} for {suite}, arm {arm} ...", err=True)

    from lgbench.cli._diagnosis import diagnosis_line, examined
    from lgbench.cli._report import print_result, summary
    from lgbench.doctor.diagnosis import Watch, short_cells
    from lgbench.evaluation.planning import make_plan
    from lgbench.experiments.series import spread_revisions
    from lgbench.util.text import json_text

    groups, lengths = listed(group), listed_lengths(length)
    # What is asked for in vain fails before a model takes minutes to load.
    found = opened(suite)
    plan = make_plan(found, arm=arm, groups=groups, tasks=listed(task), lengths=lengths, seed=seed, limit=limit)
    size = _batch_size(batch_size)
    if resume and output is not None and not output.exists() and not quiet:
        typer.echo(f"There is no {str(output)!r} to resume: this run starts from the beginning.", err=True)
    named = [model, found.name, *groups, arm, *([] if seed is None else [f"seed{seed}"])]
    model, options = spread_revisions(model, model_options([*(model_option or []), *_shots(shots)]))
    is_series, shown = "revisions" in options, not as_json and not quiet
    results, summaries = [], []
    with (
        new_run_folder(*named) if output is None else contextlib.nullcontext(output) as base,
        _loader(found, executor, jobs, cores, device=options.get("device", "auto")) as load,
    ):
        news = f"The result will be in {base}" if output is None else ""
        kept = base.absolute()  # the model may change the working directory
        for folder, chosen in _runs(base, options, model):
            place = kept / folder.relative_to(base)
            with _telling_how_to_go_on(kept, base, is_series=is_series):
                watch = Watch(short_cells(found, plan.cells, plan.group))
                result = _run(
                    plan,
                    load,
                    model,
                    chosen,
                    place,
                    news,
                    batch_size=size,
                    resume=resume,
                    quiet=quiet,
                    on_cell=watch.add if shown else None,
                )
            news = ""
            results.append(result)
            summaries.append(summary(result, folder))
            if shown and watch.is_empty:  # the run was finished before: its replies are on disk alone
                print_result(result, folder, diagnosis=examined(result, place, folder)[1])
            elif shown:
                print_result(result, folder, diagnosis=diagnosis_line(watch.diagnoses(), folder))
    if is_series:
        _show_series(results, base, quiet=quiet or as_json)
    if as_json:
        typer.echo(json_text(summaries if is_series else summaries[0]))


@contextlib.contextmanager
def _telling_how_to_go_on(kept: Path, base: Path, *, is_series: bool) -> Iterator[None]:
    """Print the command that goes on, if a run stops before its end when there is something to go on from.

    Args:
        kept: The folder of the run, or of the series it belongs to.
        base: The same, as the user named it.
        is_series: Which of the two it is.
    """
    from lgbench.evaluation.folder import PARTIAL_FILE, RESULT_FILE
    from lgbench.util.records import InvalidFileError

    try:
        yield
    except (FolderTakenError, DamagedRunError, InvalidFileError):  # the same command would meet the same file
        raise
    except (KeyboardInterrupt, LgbenchError) as stop:
        if interrupted := isinstance(stop, KeyboardInterrupt):
            typer.echo("\nInterrupted.", err=True)
        begun = [f"*/{PARTIAL_FILE}", f"*/{RESULT_FILE}"] if is_series else [PARTIAL_FILE]
        if any(any(kept.glob(name)) for name in begun):
            typer.echo(f"Every reply up to here is kept; resume with:\n  {_resumed(base)}", err=True)
        if interrupted:
            raise typer.Exit(INTERRUPTED) from None
        raise


@contextlib.contextmanager
def _loader(suite: Suite, executor: str, jobs: int | None, cores: int | None, *, device: str) -> Iterator[Load]:
    """What loads a model by name and options: in this process, or in those of an executor, which then is open."""
    from lgbench.experiments.executors import LOCAL, open_executor
    from lgbench.models.loading import load_model

    if executor == LOCAL and jobs in (None, 1) and cores is None:
        yield load_model
        return
    from lgbench.experiments.sharing import share_model

    opened = open_executor(executor, jobs=jobs or 1, cores_each=cores, device=_device(device), keep=True)
    try:
        at_once = int(getattr(opened, "slots", 1)) if jobs is None else jobs
        yield lambda model, options: share_model(model, options, opened, jobs=at_once, suite=suite)
    except BaseException:
        opened.shutdown(wait=False, cancel_futures=True)
        raise
    opened.shutdown()


def _device(name: str) -> str:
    """Where a model is put that is told this device, as far as sharing out GPUs goes."""
    if importlib.util.find_spec("torch") is None:
        return "cpu"
    from lgbench.models.devices import choose_device

    return choose_device(name)


def _run(
    plan: Plan,
    load: Load,
    model: str,
    options: dict[str, str],
    folder: Path,
    news: str,
    *,
    batch_size: int | Literal["auto"],
    resume: bool,
    quiet: bool,
    on_cell: OnCell | None,
) -> Result:
    """Load the model and evaluate it. What it prints goes to stderr, so that it cannot mix with the JSON."""
    from lgbench.cli._progress import reporter
    from lgbench.cli._report import describe
    from lgbench.data.groups import OPEN_ARM
    from lgbench.evaluation.evaluator import as_trained, evaluate_plan
    from lgbench.evaluation.loop import asks_again
    from lgbench.util.text import plain

    with stdout_to_stderr():
        loaded = load(model, options)
        if not quiet and (description := describe(loaded)):
            typer.echo(f"Loaded: {plain(description)}", err=True)
        if not quiet and loaded.trained is not None and plan.arm == OPEN_ARM:
            typer.echo(plain(_how_trained(loaded.trained, plan.suite)), err=True)
        as_trained(plan, loaded.trained)
        if news and not quiet:  # once there is a model that can have a result
            typer.echo(news, err=True)
        with reporter(quiet=quiet, again=asks_again(loaded.predictor)) as report:
            return evaluate_plan(
                loaded,
                plan,
                batch_size=batch_size,
                output=folder,
                resume=resume,
                on_progress=report,
                on_cell=on_cell,
            )


def _how_trained(trained: Trained, suite: Suite) -> str:
    """How a model was trained that is evaluated under the arm open."""
    from lgbench.data.groups import OPEN_ARM

    if trained.arm == OPEN_ARM:
        return (
            f"It was trained for {trained.group} in {trained.suite}, seed {trained.seed}, but not as an arm of it is."
        )
    reference = suite.reference if suite.name == trained.suite else trained.suite
    return (
        f"It was trained as arm {trained.arm} of {trained.group} in {trained.suite}, seed {trained.seed}. To evaluate "
        f"it as such: --suite {reference} --group {trained.group} --arm {trained.arm}"
    )


def _runs(base: Path, options: dict[str, str], model: str) -> Iterator[tuple[Path, dict[str, str]]]:
    """The folder and the model options of each run: one, or one for each of `revisions=a,b,c`."""
    if "revisions" not in options:
        yield base, options
        return

    from lgbench.experiments.series import split_revisions
    from lgbench.models.huggingface.folder import check_revisions
    from lgbench.util.links import refuse_links

    common = {key: value for key, value in options.items() if key != "revisions"}
    revisions = split_revisions(options["revisions"])
    check_revisions(model.removeprefix("hf:"), revisions)
    refuse_links(base, [*revisions, _SERIES_PICTURE])
    for revision in revisions:
        yield base / revision, common | {"revision": revision}


def _show_series(results: list[Result], base: Path, *, quiet: bool) -> None:
    """Draw accuracy by pretraining step, if there is something to draw with."""
    from lgbench.util.extras import install_command

    if importlib.util.find_spec("matplotlib") is None:
        draw = f"lgbench plot {shlex.quote(str(base))} --kind series -o FILE.svg"
        message = f"To draw accuracy by step: {install_command('plot')}, then {draw}"
    else:
        from lgbench import plotting

        plotting.write_picture(plotting.series_curves(results), base / _SERIES_PICTURE)
        message = f"Accuracy by pretraining step: {base / _SERIES_PICTURE}"
    if not quiet:
        typer.echo(message)


def _batch_size(text: str) -> int | Literal["auto"]:
    from lgbench.evaluation.evaluator import check_batch_size

    if text == "auto":
        return "auto"
    try:
        size = int(text)
    except ValueError:
        raise LgbenchError(f"--batch-size {text!r} is neither a number nor 'auto'.") from None
    check_batch_size(size)
    return size


def _shots(shots: int | None) -> list[str]:
    return [] if shots is None else [f"shots={shots}"]


def _resumed(folder: Path) -> str:
    """The command line of this process, made to go on."""
    arguments = ["lgbench", *sys.argv[1:]]
    more = [] if "--resume" in arguments else ["--resume"]
    if not any(argument.partition("=")[0] in ("--output", "-o") for argument in arguments):
        more += ["--output", str(folder)]
    at = 2 if "--" in arguments else len(arguments)  # behind `eval`: what follows a `--` is no option
    return shlex.join([*arguments[:at], *more, *arguments[at:]])
