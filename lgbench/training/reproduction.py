"""Layer 4: every arm and seed of a suite's groups, trained and evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from lgbench.evaluation import evaluate
from lgbench.links import refuse_links
from lgbench.models.devices import choose_device
from lgbench.models.folders import CHECKPOINT
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.records import read_record
from lgbench.results import Result
from lgbench.running.folder import RESULT_FILE
from lgbench.scoring.comparison import same_experiment
from lgbench.suites import Suite
from lgbench.training.plans import Recipe
from lgbench.training.points import zones_line
from lgbench.training.runs import Run, train_run

RESULT = "result"
"""The folder of a run's result, beside its `training.json` and checkpoint."""


def list_runs(
    recipe: Recipe, root: Path, *, groups: Sequence[str], arms: Sequence[str], seeds: Iterable[int]
) -> list[Run]:
    """The runs of a reproduction: seed by seed, then by group and arm, so that every group is seen once early.

    An arm that trains on the same list in several groups is one run, named for the first of them.

    Args:
        recipe: How they are trained.
        root: The folder of the runs' folders.
        groups: Names; empty for all.
        arms: Names of trained arms.
        seeds: Each trains every arm once.

    Raises:
        UnknownNameError: No such group, arm, preset or setting.
    """
    experiments = [(each.run, each.arm) for each in _experiments(recipe.suite, groups, arms)]
    runs = []
    for seed in seeds:
        for group, arm in dict.fromkeys(experiments):
            plan, name = recipe.plan(group, arm, seed), f"{group}-{arm}-seed{seed}"
            runs.append(Run(plan, root / name, name=f"{group} {arm} seed {seed}"))
    return runs


class _Experiment(NamedTuple):
    """An arm of a wanted group, and the group that its run is named for."""

    group: str
    arm: str
    run: str


def _experiments(suite: Suite, groups: Sequence[str], arms: Sequence[str]) -> list[_Experiment]:
    wanted = [suite.group(name) for name in groups] or list(suite.groups)
    return [
        _Experiment(group.name, arm, same_experiment(suite, arm, group)[0].name) for group in wanted for arm in arms
    ]


def shared_runs(suite: Suite, *, groups: Sequence[str], arms: Sequence[str]) -> list[str]:
    """A sentence for each arm of a wanted group whose run is named for another group. Arguments as for `list_runs`."""
    return [
        f"The {each.arm} run of {each.group} is that of {each.run}, which trains on the same list."
        for each in _experiments(suite, groups, arms)
        if each.group != each.run
    ]


def finish_run(run: Run, device: str) -> None:
    """Train a run and evaluate its checkpoint, from wherever an earlier call left it.

    Raises:
        LgbenchError: Training or evaluation failed.
    """
    refuse_links(run.folder, [RESULT])
    plan = run.plan
    train_run(run, device, tell=zones_line)
    # Recorded only where it is not the usual one, so that the same run is the same on every machine.
    options = {"device": device} if device != choose_device("auto") else {}
    own = {"build": plan.other_model} if plan.other_model is not None else {}
    model = load_model(str(run.folder / CHECKPOINT), options | own)
    # However the folder was spelled, and on whichever device it was begun, it is the same evaluation.
    system = model.system.model_copy(update={"model": f"{run.folder.name}/{CHECKPOINT}"})
    model = replace(model, system=system, may_change=frozenset({"device"}))
    if _is_evaluated(run, model):
        return
    evaluate(
        model,
        suite=plan.suite,
        arm=plan.arm,
        group=plan.group,
        seed=plan.seed,
        output=run.folder / RESULT,
        resume=True,
    )


def _is_evaluated(run: Run, model: Model) -> bool:
    """Whether the run's result is of these weights. What they were called then does not matter."""
    path = run.folder / RESULT / RESULT_FILE
    if not path.exists():
        return False
    result, plan = read_record(path, Result), run.plan
    of_plan = (result.suite, result.group, result.arm, result.seed) == (plan.suite, plan.group, plan.arm, plan.seed)
    return of_plan and result.limit is None and result.system.source_sha256 == model.system.source_sha256
