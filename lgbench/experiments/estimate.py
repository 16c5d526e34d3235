"""How long planned runs will take, from a few steps of each kind of run, measured here and now."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

import torch

from lgbench.experiments.base import Experiment, Run
from lgbench.models.checkpoint import Build
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.batching import batches
from lgbench.training.modules import build_module
from lgbench.training.record import RECORD
from lgbench.training.spec import RunSpec
from lgbench.training.steps import make_optimizer, take_step
from lgbench.util.tables import Table
from lgbench.util.text import duration

_WARM, _TIMED = 1, 3


class Estimate(NamedTuple):
    """What a run has left.

    Attributes:
        steps_done: Steps whose state is saved.
        seconds: What the others take about: training alone, without points of the curve and evaluation.
    """

    steps_done: int
    seconds: float


def estimates(experiment: Experiment, runs: Sequence[Run], device: str) -> list[Estimate]:
    """An estimate for each run. Runs with the same data, model and settings are measured once, for about a second.

    Raises:
        LgbenchError: A module cannot be built, or a record in a folder is damaged.
    """
    measured: dict[str, float] = {}
    found = []
    for run in runs:
        done = run.record().steps_done if (run.folder / RECORD).is_file() else 0
        left = max(0, experiment.last_step(run) - done)
        key = run.plan.model_copy(update={"seed": 0}).model_dump_json()
        if left and key not in measured:
            measured[key] = _step_seconds(run.plan, experiment.build(run), device)
        found.append(Estimate(done, left * measured[key] if left else 0.0))
    return found


def _step_seconds(plan: RunSpec, build: Build | None, device: str) -> float:
    """What a step of a run takes, in seconds. Nothing of the run is touched."""
    settings = plan.settings
    suite = plan.loaded_suite
    size = len(suite_vocabulary(suite))
    tag = plan.architecture.main_tag
    module = build_module(settings, build, seed=plan.seed, device=device, vocabulary_size=size, main_tag=tag)
    optimizer = make_optimizer(module, settings)
    parts = plan.mixture.schedule[-1].parts
    stream = batches(suite, parts, size=settings.batch, chunks=settings.length_chunks)
    times = []
    for step, batch in enumerate(islice(stream, _WARM + _TIMED)):
        begun = time.perf_counter()
        take_step(module, optimizer, batch, settings, step=step, device=device, forward=module)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    return min(times[_WARM:])  # other work on the machine can only add to a step's time


def plan_table(
    experiment: Experiment, runs: Sequence[Run], times: Sequence[Estimate], *, jobs: int
) -> list[Table | str]:
    """The runs with their folders, what is done of them, and what is left, for people."""
    rows = [
        (run.name, str(run.folder), f"{each.steps_done}/{experiment.last_step(run)}", duration(each.seconds))
        for run, each in zip(runs, times, strict=True)
    ]
    total = sum(each.seconds for each in times)
    at_once = f", {duration(total / jobs)} with {jobs} at a time if the cores suffice" if jobs > 1 else ""
    count = f"{len(runs)} run{'s' if len(runs) > 1 else ''}"
    methods = sorted({run.plan.method.name for run in runs if run.plan.method is not None})
    on_top = "".join(f" and what {name} does beside the steps" for name in methods)
    return [
        Table("", ("run", "folder", "steps", "time left"), rows, text=2),
        f"{count}, {duration(total)} of training in all{at_once}; not counted: evaluation{on_top}.",
    ]
