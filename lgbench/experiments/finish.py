"""How one run of an experiment is brought to its end: trained, and evaluated where its result counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.folder import RESULT_FILE
from lgbench.experiments.monitor import Monitor, Tell
from lgbench.methods.registry import method_of
from lgbench.models.checkpoint import Build
from lgbench.models.devices import choose_device
from lgbench.models.folders import CHECKPOINT, RESULT
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.results.schema import Result
from lgbench.training.hooks import Hook, make_hooks
from lgbench.training.points import zones_line
from lgbench.training.record import TrainingRecord, read_training_record
from lgbench.training.spec import RunSpec
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from lgbench.util.links import refuse_links
from lgbench.util.records import read_record

if TYPE_CHECKING:
    from lgbench.experiments.base import Run


def train_run(
    run: Run, *, device: str, monitor: Monitor, build: Build | None, tell: Tell = zones_line, hooks: Sequence[Hook] = ()
) -> TrainingRecord:
    """Train a run to its end, from wherever an earlier call left it.

    Args:
        run: The run.
        device: Where to train.
        monitor: What to report to.
        build: Builds its module; None for the reference model.
        tell: How right the model of a plan is at a point, in words.
        hooks: Beside those of its plan; they may stop it.

    Raises:
        LgbenchError: Training failed, or a hook stopped it before its end.
    """
    record = train(
        run.plan,
        run.folder,
        build=build,
        device=device,
        resume=True,
        report=lambda progress: monitor.training(run.plan, progress, tell),
        hooks=[*make_hooks(run.plan), *hooks],
        method=method_of(run.plan),
    )
    if not record.finished and not hooks:
        raise LgbenchError(f"A hook stopped the run after step {record.steps_done} of {run.plan.settings.steps}.")
    return record


def evaluate_run(plan: RunSpec, folder: Path, *, device: str, monitor: Monitor) -> None:
    """Evaluate the checkpoint of a trained run, from wherever an earlier call left it.

    Args:
        plan: What was trained.
        folder: The run's folder.
        device: Where to evaluate.
        monitor: What to report to.

    Raises:
        LgbenchError: Evaluation failed, or the run is not of its arm.
    """
    if read_training_record(folder).data_changed:
        raise LgbenchError(
            f"A hook changed what the run trained on, so that it is no run of arm {plan.arm} and has no result as "
            f"such. Evaluate it by itself: lgbench eval {folder / CHECKPOINT} --group {plan.group}"
        )
    refuse_links(folder, [RESULT])
    # Recorded only where it is not the usual one, so that the same run is the same on every machine.
    options = {"device": device} if device != choose_device("auto") else {}
    own = {"build": plan.other_model} if plan.other_model is not None else {}
    model = load_model(str(folder / CHECKPOINT), options | own)
    # However the folder was spelled, and on whichever device it was begun, it is the same evaluation.
    system = model.system.model_copy(update={"model": f"{folder.name}/{CHECKPOINT}"})
    model = replace(model, system=system, may_change=frozenset({"device"}))
    if _is_evaluated(folder / RESULT / RESULT_FILE, plan, model):
        return
    evaluate(
        model,
        suite=plan.suite,
        arm=plan.arm,
        group=plan.group,
        seed=plan.seed,
        output=folder / RESULT,
        resume=True,
        on_progress=monitor.evaluating,
    )


def _is_evaluated(path: Path, plan: RunSpec, model: Model) -> bool:
    """Whether a run's result is of these weights. What they were called then does not matter."""
    if not path.exists():
        return False
    result = read_record(path, Result)
    of_plan = (result.suite, result.group, result.arm, result.seed) == (plan.suite, plan.group, plan.arm, plan.seed)
    return of_plan and result.limit is None and result.system.source_sha256 == model.system.source_sha256
