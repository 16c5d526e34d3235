"""Draw cells, ask the model, compare, count."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite
from lgbench.evaluation.asking import usage
from lgbench.evaluation.environment import describe_environment
from lgbench.evaluation.folder import RunFolder, open_run
from lgbench.evaluation.key import RunKey
from lgbench.evaluation.loop import OnCell, Progress, Running
from lgbench.evaluation.planning import Plan, make_plan
from lgbench.models.contract import Predictor, SharedPredictor
from lgbench.models.loaded import Model, Trained
from lgbench.models.recorded import RecordedReplies
from lgbench.models.safe_call import prepare
from lgbench.results.schema import Environment, Result, SystemInfo
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
    on_progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Run a model through a suite and count what it gets right.

    Args:
        predictor: An object with `predict(prompts, task) -> replies`, or what `load_model` returned.
        suite: A suite or its name.
        arm: How the model was trained: `main_only`, `transfer`, `control`, `direct`, or `open` for none of these.
        group: The group that a trained arm belongs to. Under `open`, groups to narrow the evaluation to.
        tasks: Narrows the evaluation to these tasks; empty for all.
        lengths: Narrows it to these lengths; empty for all.
        seed: The model's training seed, recorded. A checkpoint that `lgbench train` wrote knows its own.
        limit: Evaluate this many examples of each cell: the first of a keyed permutation.
        batch_size: Prompts in one call of `predict`; `auto` leaves it to the model (64 where it does not say).
        output: A folder for `result.json` and `replies.jsonl.gz`; None keeps no files.
        resume: Go on with the run that `output` holds.
        on_progress: Called when a cell begins and after every batch.

    Returns:
        The result, as in `result.json`.

    Raises:
        LgbenchError: Something asked for does not exist or does not fit, a checkpoint was trained otherwise, or
            `output` holds another run.
        ModelError: The model raised, or broke the contract. Replies up to then are kept in `output`.
    """
    groups = (group,) if isinstance(group, str) else tuple(group)
    tasks = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    lengths = (lengths,) if isinstance(lengths, int) else tuple(lengths)
    plan = make_plan(suite, arm=arm, groups=groups, tasks=tasks, lengths=lengths, seed=seed, limit=limit)
    model = predictor if isinstance(predictor, Model) else _unnamed(predictor)
    return evaluate_plan(model, plan, batch_size=batch_size, output=output, resume=resume, on_progress=on_progress)


def evaluate_plan(
    model: Model,
    plan: Plan,
    *,
    batch_size: int | Literal["auto"] = "auto",
    output: str | Path | None = None,
    resume: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    on_cell: OnCell | None = None,
) -> Result:
    """Run a model through a plan: `evaluate`, with the same arguments and errors, after its choice of cells.

    `on_cell` is called with every cell, its examples and its replies, once all of them are there: for each cell of the
    plan in its order, but not where `output` holds the finished run.
    """
    check_batch_size(batch_size)
    if resume and output is None:
        raise LgbenchError("resume=True needs output: the folder of the run to resume.")
    plan = as_trained(plan, model.trained)
    if isinstance(model.predictor, RecordedReplies):
        model.predictor.check_ids(plan.suite)
    key, size = RunKey.of(plan, model.system), None if batch_size == "auto" else batch_size
    with (
        _folder(output) as folder,
        open_run(folder, key, model.system.source_sha256, resume=resume, may_change=model.may_change) as run,
    ):
        if isinstance(run, Result):
            return run
        prepare(model.predictor, plan.suite, list(dict.fromkeys(cell.task for cell in plan.cells)))
        running = Running(model, plan, run, batch_size=size, on_progress=on_progress, on_cell=on_cell)
        result = _result(model, plan, run, running)
        run.finish(result)
        return result


@contextlib.contextmanager
def _folder(output: str | Path | None) -> Iterator[Path]:
    """The folder of a run: a temporary one where none is named."""
    if output is not None:
        yield Path(output).absolute()  # the model may change the working directory
        return
    with tempfile.TemporaryDirectory(prefix="lgbench-") as folder:
        yield Path(folder)


def _result(model: Model, plan: Plan, run: RunFolder, running: Running) -> Result:
    """Bring a run to its end."""
    cells = running.run_cells()
    total = sum(cell.counts.total for cell in cells)
    return Result.model_validate(
        {
            "suite": plan.suite.name,
            "draft": plan.draft,
            "arm": plan.arm,
            "group": plan.group,
            "seed": plan.seed,
            "limit": plan.limit,
            "system": model.system.model_copy(update={"source_sha256": run.source_sha256}),
            "cells": cells,
            "replies_sha256": running.digest.hexdigest(),
            "batch_invariance": running.check_batch_invariance(),
            "environment": _environment(model),
            "started": run.started,
            "duration": round(run.spent.seconds, 3),
            "replies_per_second": round(total / run.spent.seconds, 3) if run.spent.seconds else 0.0,
            "usage": usage(model, run.spent.tokens),
        }
    )


def _environment(model: Model) -> Environment:
    if isinstance(model.predictor, SharedPredictor):
        return model.predictor.environment
    return describe_environment(model.device)


def check_batch_size(batch_size: int | Literal["auto"]) -> None:
    """Raise an `LgbenchError` for a batch size out of range."""
    if batch_size != "auto" and (not isinstance(batch_size, int) or batch_size < 1):
        raise LgbenchError(f"Batch size {batch_size!r} is out of range. Give 1 or more, or 'auto'.")


def as_trained(plan: Plan, trained: Trained | None) -> Plan:
    """The plan with the seed that a checkpoint was trained with, where it is of a trained arm.

    Raises:
        LgbenchError: The checkpoint was trained under another arm, or with another seed.
    """
    if trained is None or plan.group is None:
        return plan
    told = f"arm {trained.arm!r} of group {trained.group!r} of {trained.suite}, seed {trained.seed}"
    if trained.arm == OPEN_ARM or not _trained_alike(plan, trained) or plan.seed not in (None, trained.seed):
        seed = "" if plan.seed is None else f", seed {plan.seed}"
        raise LgbenchError(
            f"The checkpoint was trained as {told}; it cannot be evaluated as arm {plan.arm!r} of group {plan.group!r} "
            f"of {plan.suite.name}{seed}. Evaluate it as what it is, or as arm open."
        )
    return replace(plan, seed=trained.seed)


def _trained_alike(plan: Plan, trained: Trained) -> bool:
    """Whether the plan's arm and group are those of the training, or another group's whose list is the same."""
    if plan.suite.name != trained.suite or plan.group is None:
        return False
    return plan.suite.group(plan.group).mixture(plan.arm) == plan.suite.group(trained.group).mixture(trained.arm)


def _unnamed(predictor: Predictor | RecordedReplies) -> Model:
    kind = type(predictor)
    if isinstance(predictor, str):
        raise LgbenchError(f"evaluate takes a model, not a name: write evaluate(lgbench.load_model({predictor!r})).")
    if isinstance(predictor, type):
        given = predictor.__name__
        raise LgbenchError(
            f"evaluate takes an object with predict(prompts, task), not a class: make one, as {given}()."
        )
    return Model(predictor, SystemInfo(model=f"{kind.__module__}.{kind.__qualname__}", kind="object"))
