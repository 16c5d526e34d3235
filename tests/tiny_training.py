"""A run so small that it trains in a moment."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
from torch import Tensor

from lgbench.data.suites import load_suite
from lgbench.models.checkpoint import load_module
from lgbench.training.spec import Recipe, RunSpec
from lgbench.training.trainer import Progress

MINI = load_suite("mini-v1")
STRINGS = MINI.group("capitalize-reverse")
DOMAIN = MINI.domain(STRINGS)
# At the preset's rate so few steps would teach no model to stop: to evaluate one took 15 s instead of 1 s.
TINY = (
    *("layers=1", "heads=2", "width=16", "hidden=16", "batch=64", "steps=12", "evaluate_every=5"),
    *("learning_rate=1e-2", "precision=float32"),
)


def tiny_plan(*changes: str, arm: str = "transfer", seed: int = 0) -> RunSpec:
    return Recipe(MINI, changes=[*TINY, *changes]).plan(STRINGS.name, arm, seed)


def weights(folder: Path) -> dict[str, Tensor]:
    _, module = load_module(folder / "checkpoint")
    return dict(module.state_dict())


class Interrupted(Exception):  # noqa: N818  # it stands for a kill
    pass


def stop_at(step: int) -> object:
    def report(progress: Progress) -> None:
        if progress.step >= step:
            raise Interrupted

    return report
