"""Runs with a method, so small that they train in a moment."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from lgbench.methods.registry import choose_method, method_of
from lgbench.training.record import TrainingRecord
from lgbench.training.spec import Recipe, RunSpec
from lgbench.training.trainer import Progress, train
from tests.tiny_training import MINI, STRINGS, TINY, Interrupted, weights


def method_plan(
    name: str | None, *options: str, changes: tuple[str, ...] = (), arm: str = "transfer", group: str = STRINGS.name
) -> RunSpec:
    """The plan of a tiny run with a method; None for the plain one."""
    sets_steps = any(option.startswith("base_steps=") for option in options)
    tiny = [change for change in TINY if not (sets_steps and change.startswith("steps="))]
    recipe = Recipe(
        MINI, changes=[*tiny, "batch=64", "evaluate_every=6", *changes], method=choose_method(name, options)
    )
    return recipe.plan(group, arm, 0)


def trained(plan: RunSpec, folder: Path) -> TrainingRecord:
    return train(plan, folder, method=method_of(plan))


def assert_same_weights(one: Path, two: Path) -> None:
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def _killed_at(step: int) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if progress.step >= step and not progress.news:  # which a hook may report, whose errors are told as such
            raise Interrupted

    return report


def assert_resumes(plan: RunSpec, folder: Path, *, kills: tuple[int, ...] = (7,)) -> TrainingRecord:
    """A run that was killed ends in the weights and the record of one that was not.

    The reports at which it is killed come every ten steps and at points; what was not saved is done again.
    """
    whole = trained(plan, folder / "whole")
    for step in kills:
        with pytest.raises(Interrupted):
            train(plan, folder / "pieces", method=method_of(plan), resume=True, report=_killed_at(step))

    pieces = train(plan, folder / "pieces", method=method_of(plan), resume=True)
    assert_same_weights(folder / "whole", folder / "pieces")
    ignored = {"seconds", "peak_memory", "machine"}
    assert pieces.model_dump(exclude=ignored) == whole.model_dump(exclude=ignored)
    return whole


def assert_neutral(name: str, *options: str, folder: Path, changes: tuple[str, ...] = ()) -> None:
    """With these options a run ends in the weights and the curve of the plain run, bit by bit."""
    plain = trained(method_plan(None, changes=changes), folder / "plain")
    neutral = trained(method_plan(name, *options, changes=changes), folder / "neutral")
    assert_same_weights(folder / "plain", folder / "neutral")
    assert neutral.curve == plain.curve
    assert (neutral.tokens, neutral.extra_cost) == (plain.tokens, None)
