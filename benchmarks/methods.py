"""The training step with each method against the plain one, data and hooks included."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from lgbench.data.suites import load_suite
from lgbench.methods.registry import choose_method, method_of
from lgbench.training.hooks import Hook
from lgbench.training.modules import planned_build
from lgbench.training.spec import Recipe, RunSpec
from lgbench.training.trainer import Training, train

SUITE, ARM = "mini-v1", "transfer"
STEPS, WARM, ROUNDS = 50, 10, 2
_VARIANTS = (
    ("ternary",),
    ("positions", "encoding=alibi"),
    ("positions", "encoding=half-rope"),
    ("positions", "range=2048"),
    ("state-space",),
    ("rnb", "round_steps=50"),
    ("rnb", "round_steps=50", "every=1"),
    ("shares", "main=1/2"),
    ("self-improvement", "rounds=1", "base_steps=0", f"round_steps={STEPS}", "round_decay=0", "labels=true"),
)


def steps(preset: str, of: str) -> Iterator[str]:
    """Milliseconds of a step with each method, and their ratio to the plain step's.

    The variants take turns, and the better of two rounds counts for each. It is the processor's time of this process,
    so that other programs matter less, from the tenth step of a run on, with its data and hooks; without points of the
    curve and without what comes before the first step.

    Args:
        preset: One of `lgbench.training.settings.PRESETS`.
        of: The name of the group whose preset and examples are taken.

    Raises:
        UnknownNameError: No such preset or group.
    """
    suite = load_suite(SUITE)
    suite.group(of)
    changes = [f"steps={STEPS}", f"evaluate_every={STEPS}"]
    plans: dict[str, RunSpec] = {"plain": Recipe(suite, preset=preset, changes=changes).plan(of, ARM, 0)}
    for name, *options in _VARIANTS:
        recipe = Recipe(suite, preset=preset, changes=changes, method=choose_method(name, options))
        plans[" ".join((name, *options))] = recipe.plan(of, ARM, 0)
    best = dict.fromkeys(plans, float("inf"))
    for _ in range(ROUNDS):
        for name, plan in plans.items():
            best[name] = min(best[name], _seconds(plan))
    for name, seconds in best.items():
        ratio = seconds / best["plain"]
        yield f"{name}: {1000 * seconds:.1f} ms a step, {ratio:.2f} times the plain one"
    yield f"on {torch.get_num_threads()} threads; {preset}, {of}, {ARM}, batches of {plans['plain'].settings.batch}"


class _Clock(Hook):
    """Reads the processor's time of this process after each step, and stops the run before its last point."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def step(self, training: Training, loss: Tensor) -> None:
        self.times.append(time.process_time())
        if training.step == STEPS - 1:
            training.stop("enough was measured")


def _seconds(plan: RunSpec) -> float:
    clock = _Clock()
    with tempfile.TemporaryDirectory() as folder:
        train(plan, Path(folder, "run"), build=planned_build(plan), method=method_of(plan), hooks=[clock])
    return (clock.times[-1] - clock.times[WARM - 1]) / (len(clock.times) - WARM)
