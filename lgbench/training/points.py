"""What the points of a training curve amount to: accuracies by zone, and the generalization gap."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import NamedTuple

from lgbench.data.cells import DEV_EXAMPLES
from lgbench.data.groups import ZONES, Zone
from lgbench.scoring.display import one_decimal
from lgbench.scoring.measures import SUCCESS
from lgbench.training.record import CurvePoint, TrainingRecord
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError


def zone_accuracies(plan: RunSpec, point: CurvePoint) -> dict[Zone, Fraction | None]:
    """The main task's mean accuracy over the lengths of each zone; None where the grid has none."""
    group = plan.suite_group
    counts = point.correct[group.main]
    accuracies: dict[Zone, Fraction | None] = {}
    for zone in ZONES:
        lengths = group.zone_lengths(zone)
        right = sum(counts[length] for length in lengths)
        accuracies[zone] = Fraction(right, DEV_EXAMPLES * len(lengths)) if lengths else None
    return accuracies


def zones_line(plan: RunSpec, point: CurvePoint) -> str:
    """The main task's accuracy by zone, as in `reverse_add in-distribution 98.4 %, transfer 12.0 %`."""
    known = [(zone, share) for zone, share in zone_accuracies(plan, point).items() if share is not None]
    shares = ", ".join(f"{zone.replace('_', '-')} {one_decimal(share)} %" for zone, share in known)
    return f"{plan.suite_group.main} {shares}"


def steps_to(record: TrainingRecord, share: Fraction) -> int | None:
    """The step of the first point at which the main task reaches an accuracy in distribution; None where none does."""
    for point in record.curve:
        reached = zone_accuracies(record.plan, point)["in_distribution"]
        if reached is not None and reached >= share:
            return point.step
    return None


class Gap(NamedTuple):
    """The generalization gap of a run, on dev examples: the paper's Figure 10 in one number.

    Attributes:
        main_length: To which the main task was trained.
        aux_length: To which the auxiliaries were trained.
        gap: The mean over the grid of the distance between the accuracies of the main task and of an auxiliary, then
            the mean over the auxiliaries: from 0 to 1.
        learned: Whether every task has at least 90 % right up to its training length: of nothing learned the gap is 0.
    """

    main_length: int
    aux_length: int
    gap: Fraction
    learned: bool


def dev_gap(record: TrainingRecord) -> Gap:
    """The gap of a finished run of arm `transfer`, whatever lengths it was trained to.

    Raises:
        LgbenchError: The run is of another arm or has not finished.
    """
    plan = record.plan
    if plan.arm != "transfer" or not record.finished:
        raise LgbenchError(
            f"A gap needs a finished run of arm transfer, not {plan.arm} after {record.steps_done} steps."
        )
    main, *auxiliaries = plan.parts
    last = record.curve[-1]
    learned = all(_is_learned(last.correct[part.task], part.max_length) for part in plan.parts)
    return Gap(main.max_length, auxiliaries[0].max_length, _gap(plan, last), learned)


def _is_learned(counts: Mapping[int, int], trained_to: int) -> bool:
    right = [count for length, count in counts.items() if length <= trained_to]
    return sum(right) >= SUCCESS * DEV_EXAMPLES * len(right)


def _gap(plan: RunSpec, point: CurvePoint) -> Fraction:
    main = plan.suite_group.main
    distances = [
        abs(point.correct[main][length] - point.correct[other][length])
        for other in plan.mixture.tasks
        for length in point.correct[main]
        if other != main
    ]
    return Fraction(sum(distances), DEV_EXAMPLES * len(distances))


def gap_line(plan: RunSpec, point: CurvePoint) -> str:
    """The gap at a point of a run's curve, and the accuracies over all lengths: of nothing learned it is 0 too."""
    in_order = {task: point.correct[task] for task in plan.mixture.tasks}
    shares = {task: Fraction(sum(counts.values()), DEV_EXAMPLES * len(counts)) for task, counts in in_order.items()}
    told = ", ".join(f"{task} {one_decimal(share)} %" for task, share in shares.items())
    return f"gap {float(_gap(plan, point)):.3f}; over all lengths {told}"
