"""`evaluate`, `rescore` and `load_results`."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite
from lgbench.evaluation import evaluator
from lgbench.evaluation.loop import Progress, asks_again
from lgbench.models.contract import Predictor
from lgbench.models.loaded import Model
from lgbench.models.recorded import RecordedReplies
from lgbench.python.progress import evaluation_bar
from lgbench.python.results import (
    Result,
    Results,
    read_result,
    remove_with,
    tell_left_out,
    temporary_folder,
)
from lgbench.training.evaluated import find_evaluations
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.errors import LgbenchError


def evaluate(
    predictor: Predictor | RecordedReplies | Model,
    *,
    suite: str | Suite = "mini-v1",
    arm: str = OPEN_ARM,
    group: str | Sequence[str] = (),
    tasks: str | Sequence[str] = (),
    lengths: int | Sequence[int] = (),
    seed: int | None = None,
    limit: int | None = None,
    batch_size: int | Literal["auto"] = "auto",
    output: str | Path | None = None,
    resume: bool = False,
    label: str | None = None,
    progress: bool | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Run a model through a suite and count what it gets right.

    Args:
        predictor: An object with `predict(prompts, task) -> replies`, or what `load_model` or `wrap_module` returned.
        suite: A suite or its name.
        arm: How the model was trained: `main_only`, `transfer`, `control`, `direct`, or `open` for none of these.
        group: The group that a trained arm belongs to. Under `open`, groups to narrow the evaluation to.
        tasks: Narrows the evaluation to these tasks; empty for all.
        lengths: Narrows it to these lengths; empty for all.
        seed: The model's training seed, recorded. A checkpoint that `train` wrote knows its own.
        limit: Evaluate this many examples of each cell: the first of a keyed permutation.
        batch_size: Prompts in one call of `predict`; `auto` leaves it to the model (64 where it does not say).
        output: A folder for `result.json` and `replies.jsonl.gz`; None keeps them as long as the result is in use.
        resume: Resume the run that `output` holds.
        label: What frames call the system; None for the model's name.
        progress: Whether to show a bar; None shows it in a notebook and in a terminal.
        on_progress: Called when a cell begins and after every batch.

    Returns:
        The result, as in `result.json`, with its replies at hand.

    Raises:
        LgbenchError: Something asked for does not exist or does not fit, a checkpoint was trained otherwise, or
            `output` holds another run.
        ModelError: The model raised, or broke the contract. Replies up to then are kept in `output`.
    """
    if resume and output is None:
        raise LgbenchError("resume=True needs output: the folder of the run to resume.")
    _check_model(predictor)
    asked = predictor.predictor if isinstance(predictor, Model) else predictor
    with _kept(output) as (folder, keep), evaluation_bar(progress, again=asks_again(asked)) as show:

        def report(moved: Progress) -> None:
            show(moved)
            if on_progress is not None:
                on_progress(moved)

        record = evaluator.evaluate(
            predictor,
            suite=suite,
            arm=arm,
            group=group,
            tasks=tasks,
            lengths=lengths,
            seed=seed,
            limit=limit,
            batch_size=batch_size,
            output=folder,
            resume=resume,
            on_progress=report,
        )
        return keep(Result.of(record, folder=folder, label=label))


def _check_model(given: object) -> None:
    """Refuse what cannot be asked, with a word for modules, which look like models.

    Raises:
        LgbenchError: It has no `predict`.
    """
    if isinstance(given, Model | RecordedReplies | str | type) or callable(getattr(given, "predict", None)):
        return  # of names and classes, the evaluator says more
    torch = sys.modules.get("torch")
    is_module = torch is not None and isinstance(given, torch.nn.Module)
    hint = " Wrap it: evaluate(lgbench.wrap_module(module))." if is_module else ""
    raise LgbenchError(
        f"evaluate takes an object with predict(prompts, task), which {type(given).__name__} does not have.{hint}"
    )


@contextlib.contextmanager
def _kept(output: str | Path | None) -> Iterator[tuple[Path, Callable[[Result], Result]]]:
    """The folder of a run, and what ties a temporary one to the result: both go together."""
    if output is not None:
        yield Path(output).absolute(), lambda result: result  # the model may change the working directory
        return
    folder, kept = temporary_folder(), list[Path]()

    def keep(result: Result) -> Result:
        remove_with(result, folder)
        kept.append(folder)
        return result

    try:
        yield folder, keep
    finally:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)


def rescore(folder: str | Path) -> Result:
    """A result with every count recomputed from its replies and from regenerated data.

    Raises:
        LgbenchError: A file is missing or malformed, or something differs; with every difference and its cell.
    """
    return read_result(Path(folder), rescore=True)


def load_results(*folders: str | Path, label: str | None = None, rescore: bool = False, skip: bool = False) -> Results:
    """The results of finished evaluations in and below folders: of runs, of `reproduce`, of submissions.

    Args:
        folders: At least one.
        label: What frames call the system; None for a submission's name, the folder of the runs of `reproduce`, or the
            model.
        rescore: Whether to recompute every count from the replies. It takes a fifth of a second a run, and gives older
            results the counts that they were written without.
        skip: Whether to leave out what cannot be read, with a warning for each, instead of raising.

    Raises:
        LgbenchError: A folder does not exist or holds no finished evaluation; or results cannot be read, or an
            evaluation is not finished, with a sentence for each.
    """
    if not folders:
        raise LgbenchError("load_results needs a folder, as in lgbench.load_results('runs').")
    found = read_runs([Path(folder) for folder in folders], label=label, rescore=rescore)
    problems = [
        *found.problems,
        *(f"{str(folder)!r} holds an evaluation that is not finished." for folder in found.unfinished),
    ]
    results = found.results
    tell_left_out(problems, f"{len(results)} other result", function="load_results", skip=skip)
    return Results(results)


class Read(NamedTuple):
    """What was read of folders.

    Attributes:
        results: In the order of the folders.
        problems: A sentence for each folder or result that cannot be read.
        unfinished: The folders of evaluations that can be resumed.
    """

    results: list[Result]
    problems: list[str]
    unfinished: tuple[Path, ...]


def read_runs(
    folders: Sequence[Path], *, label: str | None = None, rescore: bool = False, report: CountReport = no_report
) -> Read:
    """The results in and below folders, and what keeps others from being read.

    Args:
        folders: At least one.
        label: As in `load_results`.
        rescore: As in `load_results`.
        report: Takes how many runs are read, and of how many.

    Raises:
        LgbenchError: A folder does not exist, or holds no finished evaluation.
    """
    found = find_evaluations(folders)
    results, problems = list[Result](), list(found.unreadable)
    for folder in counted(found.finished, report):
        try:
            results.append(read_result(folder, label=label, rescore=rescore))
        except LgbenchError as error:
            problems.append(str(error))
    return Read(results, problems, found.unfinished)
