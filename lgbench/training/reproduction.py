"""Layer 4: every arm and seed of a suite's groups, trained and evaluated, each run in a folder of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple, cast

import torch

from lgbench.errors import LgbenchError, ModelError
from lgbench.evaluation import evaluate
from lgbench.models.loading import load_build, load_model
from lgbench.processes import end_with_parent
from lgbench.scoring.comparison import same_experiment
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
                settings=preset_settings(preset, group, changes, reference=model is None),
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
    if jobs == 1:
        for run in runs:
            yield Outcome(run, _failure(run, device))
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    waiting = deque(runs)
    active: dict[int, _Active] = {}
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                started = _start(waiting.popleft(), device, threads)
                active[started.process.sentinel] = started
            for sentinel in connection.wait(list(active)):
                yield _ended(active.pop(cast(int, sentinel)))
    finally:
        for left in active.values():
            left.process.terminate()


class _Active(NamedTuple):
    run: Run
    process: SpawnProcess
    failures: connection.Connection


def _start(run: Run, device: str, threads: int) -> _Active:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(run, device, threads, sender))
    process.start()
    sender.close()
    return _Active(run, process, receiver)


def _work(run: Run, device: str, threads: int, sender: connection.Connection) -> None:
    end_with_parent()
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; the parent has the word.
    with contextlib.suppress(KeyboardInterrupt):
        sender.send(_failure(run, device))


def _ended(active: _Active) -> Outcome:
    active.process.join()
    try:
        return Outcome(active.run, active.failures.recv())
    except EOFError:
        return Outcome(active.run, f"its process ended with exit status {active.process.exitcode}")


def _failure(run: Run, device: str) -> str | None:
    """Finish a run; why it could not be finished, or None."""
    try:
        finish_run(run, device=device)
    except ModelError as error:
        print(error.user_traceback, end="", file=sys.stderr, flush=True)
        return str(error)
    except LgbenchError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # whatever it is, such as out of memory: the other runs go on
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


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
