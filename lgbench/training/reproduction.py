"""Layer 4: every arm and seed of a suite's groups, trained and evaluated, each run in a folder of its own."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch

from lgbench.comparison import same_experiment
from lgbench.errors import LgbenchError
from lgbench.evaluation import evaluate
from lgbench.models.loading import load_build, load_model
from lgbench.suites import Suite, load_suite
from lgbench.training.curve import zones_line
from lgbench.training.plans import TrainingPlan, plan_training
from lgbench.training.settings import preset_settings
from lgbench.training.trainer import CHECKPOINT, Progress, train

RESULT = "result"


class Run(NamedTuple):
    """One arm of one group with one seed, and its folder: `training.json`, `checkpoint` and `result` lie in it."""

    plan: TrainingPlan
    folder: Path

    @property
    def name(self) -> str:
        """The run in messages."""
        return f"{self.plan.group} {self.plan.arm} seed {self.plan.seed}"


class Outcome(NamedTuple):
    """A run that ended.

    Attributes:
        run: The run.
        failure: Why it has no result; null where it has one.
    """

    run: Run
    failure: str | None


def list_runs(
    suite: Suite,
    root: Path,
    *,
    groups: Sequence[str],
    arms: Sequence[str],
    seeds: int,
    preset: str,
    changes: Sequence[str] = (),
    model: str | None = None,
    device: str = "cpu",
) -> list[Run]:
    """The runs of a reproduction: seed by seed, then by group and arm, so that every group is seen once early.

    An arm that trains on the same list in several groups is one run, named for the first of them.

    Args:
        suite: The suite.
        root: The folder of the runs' folders.
        groups: Names; empty for all.
        arms: Names of trained arms.
        seeds: How many: 0 to `seeds` - 1.
        preset: The preset.
        changes: Each `name=value`, as given to `--set`.
        model: A user's module, as given to `--model`; the reference model if null.
        device: Where to train.

    Raises:
        UnknownNameError: No such group, arm, preset or setting.
    """
    wanted = [suite.group(name) for name in groups] or list(suite.groups)
    experiments = [(same_experiment(suite, arm, group)[0], arm) for group in wanted for arm in arms]
    runs = []
    for seed in range(seeds):
        for group, arm in dict.fromkeys(experiments):
            plan = plan_training(
                suite,
                group.name,
                arm,
                seed=seed,
                preset=preset,
                settings=preset_settings(preset, group, changes),
                model=model,
                device=device,
            )
            runs.append(Run(plan, root / f"{group.name}-{arm}-seed{seed}"))
    return runs


def execute(runs: Sequence[Run], *, jobs: int = 1, device: str = "cpu") -> Iterator[Outcome]:
    """Train and evaluate runs, and give each when it ends. What an earlier call finished is not done again.

    A run that fails does not stop the others. Reports go to stderr.

    Args:
        runs: The runs.
        jobs: How many at a time, each in a process with its share of the cores.
        device: Where to train and evaluate.
    """
    threads = max(1, (os.cpu_count() or 1) // jobs)
    if jobs == 1:
        yield from (_outcome(run, partial(finish_run, run, device=device)) for run in runs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_use_threads, initargs=(threads,)) as pool:
        waiting = {pool.submit(finish_run, run, device=device): run for run in runs}
        try:
            for future in as_completed(waiting):
                yield _outcome(waiting[future], future.result)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _outcome(run: Run, finish: Callable[[], None]) -> Outcome:
    try:
        finish()
    except LgbenchError as error:
        return Outcome(run, str(error))
    return Outcome(run, None)


def _use_threads(count: int) -> None:
    torch.set_num_threads(count)


def finish_run(run: Run, *, device: str) -> None:
    """Train a run and evaluate its checkpoint, from wherever an earlier call left it.

    Raises:
        LgbenchError: Training or evaluation failed.
    """
    plan = run.plan
    own = plan.model if plan.model != "reference" else None
    build = load_build(own) if own else None
    train(plan, run.folder, build=build, device=device, resume=True, report=partial(_print_point, run))
    options = {"device": device} if device != "cpu" else {}
    model = load_model(str(run.folder / CHECKPOINT), options | ({"build": own} if own else {}))
    evaluate(
        model,
        suite=plan.suite,
        arm=plan.arm,
        group=plan.group,
        seed=plan.seed,
        output=run.folder / RESULT,
        resume=True,
    )


def _print_point(run: Run, progress: Progress) -> None:
    if progress.point is not None:
        group = load_suite(run.plan.suite).group(run.plan.group)
        speed = f"loss {progress.loss:.3f}, {progress.examples_per_second:,.0f} examples/s"
        where = f"step {progress.step}/{run.plan.settings.steps}"
        print(f"{run.name}, {where}: {speed}; {zones_line(group, progress.point)}", file=sys.stderr, flush=True)
