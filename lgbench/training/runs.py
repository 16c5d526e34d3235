"""Layer 4: many training runs, each in a folder of its own: one after the other, or several at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple, cast

import torch

from lgbench.errors import LgbenchError, ModelError
from lgbench.models.importing import load_build
from lgbench.processes import end_with_parent
from lgbench.suites import Suite, opened_suites
from lgbench.training.plans import TrainingPlan
from lgbench.training.record import CurvePoint, TrainingRecord
from lgbench.training.trainer import Progress, train


class Run(NamedTuple):
    """A plan and the folder of its run.

    Attributes:
        plan: What to train.
        folder: Where `training.json`, `checkpoint` and all else of this run lie.
        name: The run in messages.
    """

    plan: TrainingPlan
    folder: Path
    name: str


class Outcome(NamedTuple):
    """A run that ended.

    Attributes:
        run: The run.
        failure: Why it is not finished; None where it is.
    """

    run: Run
    failure: str | None


Finish = Callable[[Run, str], object]
"""Brings a run to its end from wherever it stands. A module-level function, so that `jobs` can pickle it."""


def execute(runs: Sequence[Run], finish: Finish, *, jobs: int = 1, device: str = "cpu") -> Iterator[Outcome]:
    """Finish runs, and give each when it ends. A run that fails does not stop the others.

    Args:
        runs: The runs.
        finish: What to do with each.
        jobs: How many at a time, each in a process with its share of the cores.
        device: Given to `finish`.
    """
    jobs = min(jobs, len(runs))
    if jobs <= 1:
        for run in runs:
            yield Outcome(run, _failure(run, finish, device))
        return
    threads = max(1, cores() // jobs)
    waiting = deque(runs)
    active: dict[connection.Connection, _Active] = {}
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                started = _start(waiting.popleft(), finish, device, threads)
                active[started.failures] = started
            for failures in connection.wait(list(active)):
                yield _ended(active.pop(cast(connection.Connection, failures)))
    finally:
        for left in active.values():
            left.process.terminate()


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Active(NamedTuple):
    run: Run
    process: SpawnProcess
    failures: connection.Connection


def _start(run: Run, finish: Finish, device: str, threads: int) -> _Active:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    # Unpickled there, the draft suites are open there too.
    process = context.Process(target=_work, args=(opened_suites(), run, finish, device, threads, sender))
    process.start()
    sender.close()
    return _Active(run, process, receiver)


def _work(
    drafts: tuple[Suite, ...], run: Run, finish: Finish, device: str, threads: int, sender: connection.Connection
) -> None:
    end_with_parent()
    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of a terminal; the parent has the word.
    with contextlib.suppress(KeyboardInterrupt):
        sender.send(_failure(run, finish, device))


def _ended(active: _Active) -> Outcome:
    try:
        failure = active.failures.recv()
    except (EOFError, OSError):  # it ended before, or as it told
        active.process.join()
        failure = f"its process ended with exit status {active.process.exitcode}"
    active.process.join()
    active.failures.close()
    return Outcome(active.run, failure)


def _failure(run: Run, finish: Finish, device: str) -> str | None:
    """Finish a run; why it could not be finished, or None."""
    try:
        finish(run, device)
    except ModelError as error:
        print(error.user_traceback, end="", file=sys.stderr, flush=True)
        return str(error)
    except LgbenchError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # whatever it is, such as out of memory: the other runs go on
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return None


def train_run(run: Run, device: str, *, tell: Callable[[TrainingPlan, CurvePoint], str]) -> TrainingRecord:
    """Train a run to its end, with a line on stderr for each point of its curve, and one as soon as it moves.

    Args:
        run: The run.
        device: Where to train.
        tell: How right the model of a plan is at a point, in words.

    Raises:
        LgbenchError: Training failed.
    """
    settings = run.plan.settings
    has_moved = False

    def report(progress: Progress) -> None:
        nonlocal has_moved
        if progress.point is None and has_moved:
            return
        has_moved = True
        minutes = (settings.steps - progress.step) * settings.batch / progress.examples_per_second / 60
        news = f"about {minutes:,.0f} min to go" if progress.point is None else tell(run.plan, progress.point)
        where = f"{run.name}, step {progress.step}/{settings.steps}"
        print(f"{where}: {progress.pace}; {news}", file=sys.stderr, flush=True)

    build = load_build(run.plan.other_model) if run.plan.other_model is not None else None
    return train(run.plan, run.folder, build=build, device=device, resume=True, report=report)
