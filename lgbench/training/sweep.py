"""Layer 4: the arm `transfer` at other training lengths than the suite's, for its generalization gap."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from lgbench.errors import LgbenchError
from lgbench.training.plans import MOST_LENGTH, Recipe, TrainingPlan
from lgbench.training.points import gap_line
from lgbench.training.runs import Run, train_run


def list_sweep(
    recipe: Recipe, group: str, root: Path, *, main_lengths: Sequence[int], aux_lengths: Sequence[int], seeds: int
) -> list[Run]:
    """A run for each pair of lengths and seed, seed by seed.

    Args:
        recipe: How they are trained.
        group: A group of its suite.
        root: The folder of the runs' folders.
        main_lengths: To train the main task to.
        aux_lengths: To train the auxiliaries to.
        seeds: How many: 0 to `seeds` - 1.

    Raises:
        LgbenchError: A task has no prompts of such a length, or the group, the preset or a setting does not exist.
    """
    runs = []
    for seed, main, aux in itertools.product(range(seeds), main_lengths, aux_lengths):
        plan = recipe.plan(group, "transfer", seed)
        name = f"main to {main}, auxiliaries to {aux}, seed {seed}"
        runs.append(Run(_at_lengths(plan, main, aux), root / f"main{main}-aux{aux}-seed{seed}", name=name))
    return runs


def _at_lengths(plan: TrainingPlan, main_length: int, aux_length: int) -> TrainingPlan:
    main, *auxiliaries = plan.parts
    parts = [main.model_copy(update={"max_length": main_length})]
    parts += [part.model_copy(update={"max_length": aux_length}) for part in auxiliaries]
    for part in parts:
        plan.loaded_suite.task(part.task).check_length(part.max_length)
        if part.max_length > MOST_LENGTH:
            raise LgbenchError(f"Length {part.max_length} is more than the {MOST_LENGTH} that a run may train on.")
    return plan.model_copy(update={"parts": tuple(parts)})


def finish_swept(run: Run, device: str) -> None:
    """Train a run of a sweep, from wherever an earlier call left it.

    Raises:
        LgbenchError: Training failed.
    """
    train_run(run, device, tell=gap_line)
