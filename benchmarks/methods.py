"""The training step with each method against the plain one, data and hooks included."""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lgbench.data.suites import load_suite
from lgbench.methods.registry import choose_method, method_of
from lgbench.training.hooks import Hook
from lgbench.training.method import Method
from lgbench.training.modules import planned_build
from lgbench.training.spec import Recipe, RunSpec
from lgbench.training.trainer import Training, train

SUITE, ARM = "mini-v1", "transfer"
STEPS, WARM, ROUNDS = 50, 10, 2
_CALLED = ("rows", "before_step", "step")
"""What hooks do at every step."""
_VARIANTS = (
    ("ternary",),
    ("positions", "encoding=alibi"),
    ("positions", "encoding=half-rope"),
    ("positions", "range=2048"),
    ("state-space",),
    ("rnb", "round_steps=50"),
    ("rnb", "round_steps=50", "every=1"),
    ("rnb", "round_steps=50", "every=10"),
    ("shares", "main=1/2"),
    ("self-improvement", "rounds=1", "base_steps=0", f"round_steps={STEPS}", "round_decay=0", "labels=true"),
)


def steps(preset: str, of: str) -> Iterator[str]:
    """Milliseconds of a step with each method, their ratio to the plain step's, and the share of the method's hooks.

    The variants take turns, and the better of two rounds counts for each. It is the processor's time of this process,
    so that other programs matter less, from the tenth step of a run on, with its data and hooks; without points of the
    curve and without what comes before the first step. The hooks' share, with the examples that they draw, is timed in
    the same steps, so that it holds where the ratio is lost in noise.

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
    best = dict.fromkeys(plans, (float("inf"), 0.0))
    for _ in range(ROUNDS):
        for name, plan in plans.items():
            best[name] = min(best[name], _seconds(plan))
    for name, (seconds, of_hooks) in best.items():
        ratio = seconds / best["plain"][0]
        hooks = f", of which hooks {1000 * of_hooks:.2f} ms ({of_hooks / seconds:.1%})" if of_hooks else ""
        yield f"{name}: {1000 * seconds:.1f} ms a step, {ratio:.2f} times the plain one{hooks}"
    yield f"on {torch.get_num_threads()} threads; {preset}, {of}, {ARM}, batches of {plans['plain'].settings.batch}"


class _Clock(Hook):
    """Reads the processor's time of this process after each step, and stops the run before its last point."""

    def __init__(self, spent: list[float]) -> None:
        self.times: list[float] = []
        self._spent = spent

    def step(self, training: Training, loss: Tensor) -> None:
        self.times.append(time.process_time())
        if training.step == WARM:
            self._spent.clear()
        if training.step == STEPS - 1:
            training.stop("enough was measured")


def _seconds(plan: RunSpec) -> tuple[float, float]:
    """Of a step, and of the method's hooks in it."""
    method, spent = method_of(plan), list[float]()
    clock = _Clock(spent)
    with tempfile.TemporaryDirectory() as folder, _timed_hooks(method, spent):
        train(plan, Path(folder, "run"), build=planned_build(plan), method=method, hooks=[clock])
    count = len(clock.times) - WARM
    return (clock.times[-1] - clock.times[WARM - 1]) / count, sum(spent) / count


@contextlib.contextmanager
def _timed_hooks(method: Method | None, spent: list[float]) -> Iterator[None]:
    """Have the processor's time in the calls of a method's hooks added to a list in the block."""
    if method is None:
        yield
        return
    kind, make = type(method), type(method).hooks

    def hooks(self: Method, plan: RunSpec) -> Sequence[Hook]:
        made = make(self, plan)
        for hook in made:
            for name in _CALLED:
                if hasattr(hook, name):
                    setattr(hook, name, _timed(getattr(hook, name), spent))
        return made

    kind.hooks = hooks  # type: ignore[method-assign]
    try:
        yield
    finally:
        kind.hooks = make  # type: ignore[method-assign]


def _timed(call: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        begun = time.process_time()
        found = call(*arguments)
        spent.append(time.process_time() - begun)
        return found

    return timed
