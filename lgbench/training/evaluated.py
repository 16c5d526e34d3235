"""The evaluations of trained runs, and the command that evaluates one."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from lgbench.evaluation.finding import Found, NoEvaluationError, files_named, find_runs
from lgbench.models.folders import CHECKPOINT, RESULT
from lgbench.training.record import RECORD, TrainingRecord, read_training_record
from lgbench.util.errors import LgbenchError


def evaluation_command(record: TrainingRecord, folder: Path, *, output: Path | None = None) -> str:
    """The command that evaluates the checkpoint of a run.

    Args:
        record: The run's.
        folder: The run's.
        output: Where the evaluation goes; a new folder in runs/ if None.
    """
    plan = record.plan
    command = ["lgbench", "eval", str(folder / CHECKPOINT), "--suite", plan.loaded_suite.reference]
    command += ["--group", plan.group]
    if record.is_of_its_arm:
        command += ["--arm", plan.arm, "--seed", str(plan.seed)]
    if plan.other_model is not None:
        command += ["--model-option", f"build={plan.other_model}"]
    if output is not None:
        command += ["--output", str(output)]
    return shlex.join(command)


def find_evaluations(folders: Sequence[Path]) -> Found:
    """The evaluations in and below these folders, as `find_runs` finds them.

    Raises:
        LgbenchError: One of the folders does not exist, or holds no finished evaluation and nothing unreadable. Where
            a model was trained in it, it says how to evaluate it.
    """
    try:
        return find_runs(folders)
    except NoEvaluationError as error:
        trained = list(_trained(error.folder))
        if not trained:
            raise
        record, folder = trained[0]
        models, each = ("a trained model", "it") if len(trained) == 1 else (f"{len(trained)} trained models", "each")
        command = evaluation_command(record, folder, output=folder / RESULT)
        raise LgbenchError(
            f"{str(error.folder)!r} holds {models} but no evaluation. Evaluate {each} with `lgbench eval`"
            f"{'' if len(trained) == 1 else ', the first'}:\n  {command}"
        ) from None


def _trained(folder: Path) -> Iterator[tuple[TrainingRecord, Path]]:
    """The trained runs with a checkpoint in and below a folder. A finetuned model is none: `lgbench finetune` tells."""
    for path in files_named(RECORD, [folder], unreadable=[]):
        run = path.parent
        try:
            record = read_training_record(run)
        except LgbenchError:  # of a draft suite that is not open, say
            continue
        if record.finished and (run / CHECKPOINT).is_dir():
            yield record, run
