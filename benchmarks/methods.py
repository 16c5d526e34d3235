"""The training step with each method against the plain one, data and hooks included."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from lgbench.data.suites import load_suite
from lgbench.methods.registry import choose_method, method_of
from lgbench.training.modules import planned_build
from lgbench.training.spec import Recipe, RunSpec
from lgbench.training.trainer import train

SUITE, ARM = "mini-v1", "transfer"
STEPS, ROUNDS = 60, 3
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

    The variants take turns, and the best of three rounds counts for each: other programs only ever slow one down. The
    time is that of a run's steps as its record has it: without points of the curve and without what comes before the
    first step.

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
        yield f"{name}: {1000 * seconds / STEPS:.1f} ms a step, {ratio:.2f} times the plain one"
    yield f"on {torch.get_num_threads()} threads; {preset}, {of}, {ARM}, batches of {plans['plain'].settings.batch}"


def _seconds(plan: RunSpec) -> float:
    with tempfile.TemporaryDirectory() as folder:
        record = train(plan, Path(folder, "run"), build=planned_build(plan), method=method_of(plan))
    return record.seconds
