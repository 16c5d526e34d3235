"""How one run of an experiment is brought to its end: trained, and evaluated where its result counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lgbench.evaluation import evaluate
from lgbench.experiments.base import Run
from lgbench.experiments.monitor import Monitor, Tell
from lgbench.links import refuse_links
from lgbench.models.checkpoint import Build
from lgbench.models.devices import choose_device
from lgbench.models.folders import CHECKPOINT
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.records import read_record
from lgbench.results import Result
from lgbench.running.folder import RESULT_FILE
from lgbench.training.hooks import Hook
from lgbench.training.plans import TrainingPlan
from lgbench.training.points import zones_line
from lgbench.training.record import TrainingRecord
from lgbench.training.trainer import train

RESULT = "result"
"""The folder of a run's result, beside its `training.json` and checkpoint."""


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
        hooks: As for `train`.

    Raises:
        LgbenchError: Training failed.
    """
    return train(
        run.plan,
        run.folder,
        build=build,
        device=device,
        resume=True,
        report=lambda progress: monitor.training(run.plan, progress, tell),
        hooks=hooks,
    )


def evaluate_run(plan: TrainingPlan, folder: Path, *, device: str) -> None:
    """Evaluate the checkpoint of a trained run, from wherever an earlier call left it.

    Args:
        plan: What was trained.
        folder: The run's folder.
        device: Where to evaluate.

    Raises:
        LgbenchError: Evaluation failed.
    """
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
    )


def _is_evaluated(path: Path, plan: TrainingPlan, model: Model) -> bool:
    """Whether a run's result is of these weights. What they were called then does not matter."""
    if not path.exists():
        return False
    result = read_record(path, Result)
    of_plan = (result.suite, result.group, result.arm, result.seed) == (plan.suite, plan.group, plan.arm, plan.seed)
    return of_plan and result.limit is None and result.system.source_sha256 == model.system.source_sha256
