"""Layer 4: the arm `transfer` with some of its auxiliaries left out: which of them helps the main task?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from lgbench.cells import DEV_EXAMPLES
from lgbench.errors import LgbenchError
from lgbench.groups import Zone
from lgbench.training.plans import Recipe, TrainingPlan
from lgbench.training.points import zone_accuracies, zones_line
from lgbench.training.record import TrainingRecord
from lgbench.training.runs import Run, train_run


def list_ablation(recipe: Recipe, group: str, root: Path, *, seeds: int) -> list[Run]:
    """A run for each choice of at least one auxiliary and each seed, seed by seed: single ones first, all of them last.

    As in the arm, the main task and the chosen auxiliaries have equal shares of the examples.

    Args:
        recipe: How they are trained.
        group: A group of its suite.
        root: The folder of the runs' folders.
        seeds: How many: 0 to `seeds` - 1.

    Raises:
        LgbenchError: The group has one auxiliary, or the group, the preset or a setting does not exist.
    """
    auxiliaries = recipe.suite.group(group).auxiliaries
    if len(auxiliaries) < 2:
        able = ", ".join(each.name for each in recipe.suite.groups if len(each.auxiliaries) > 1) or "none"
        raise LgbenchError(
            f"{group} has one auxiliary, {auxiliaries[0]}: none can be left out. Groups with more: {able}."
        )
    choices = [choice for count in range(1, len(auxiliaries) + 1) for choice in combinations(auxiliaries, count)]
    runs = []
    for seed in range(seeds):
        plan = recipe.plan(group, "transfer", seed)
        for choice in choices:
            folder = root / f"{'+'.join(choice)}-seed{seed}"
            runs.append(Run(_with_auxiliaries(plan, choice), folder, name=f"{' and '.join(choice)}, seed {seed}"))
    return runs


def _with_auxiliaries(plan: TrainingPlan, chosen: Sequence[str]) -> TrainingPlan:
    main, *auxiliaries = plan.parts
    share = Fraction(1, 1 + len(chosen))
    parts = [main, *(part for part in auxiliaries if part.task in chosen)]
    return plan.model_copy(update={"parts": tuple(part.model_copy(update={"share": share}) for part in parts)})


def finish_ablated(run: Run, device: str) -> None:
    """Train a run of an ablation, from wherever an earlier call left it.

    Raises:
        LgbenchError: Training failed.
    """
    train_run(run, device, tell=zones_line)


class Ablated(NamedTuple):
    """What a finished run has learned, on dev examples.

    Attributes:
        zones: The main task's accuracy by zone; None where the grid has no length in the zone.
        auxiliaries: The mean accuracy of its auxiliaries up to the length that they were trained to.
    """

    zones: dict[Zone, Fraction | None]
    auxiliaries: Fraction


def by_choice(records: Iterable[TrainingRecord]) -> dict[tuple[str, ...], list[Ablated]]:
    """What finished runs have learned, by the auxiliaries that they trained."""
    choices: dict[tuple[str, ...], list[Ablated]] = {}
    for record in records:
        plan, point = record.plan, record.curve[-1]
        zones = zone_accuracies(plan, point)
        auxiliaries = plan.parts[1:]
        right = [
            count
            for part in auxiliaries
            for length, count in point.correct[part.task].items()
            if length <= part.max_length
        ]
        learned = Fraction(sum(right), DEV_EXAMPLES * len(right))
        choices.setdefault(tuple(part.task for part in auxiliaries), []).append(Ablated(zones, learned))
    return choices
