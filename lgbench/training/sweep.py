"""Layer 4: the arm `transfer` at other training lengths than the suite's, and its generalization gap."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from lgbench.cells import DEV_EXAMPLES
from lgbench.errors import LgbenchError
from lgbench.suites import Suite
from lgbench.tasks import get_task
from lgbench.training.plans import TrainingPlan, plan_training
from lgbench.training.record import TrainingRecord
from lgbench.training.settings import TrainingSettings


def swept_plan(
    suite: Suite,
    group: str,
    main_length: int,
    aux_length: int,
    *,
    seed: int,
    preset: str,
    settings: TrainingSettings,
    device: str = "cpu",
) -> TrainingPlan:
    """The plan of arm `transfer` with other lengths.

    Raises:
        LgbenchError: A task has no prompts so short, or the group does not exist.
    """
    plan = plan_training(suite, group, "transfer", seed=seed, preset=preset, settings=settings, device=device)
    main, *auxiliaries = plan.parts
    parts = [main.model_copy(update={"max_length": main_length})]
    parts += [part.model_copy(update={"max_length": aux_length}) for part in auxiliaries]
    for part in parts:
        least = get_task(part.task).min_length
        if part.max_length < least:
            raise LgbenchError(
                f"{part.task} cannot be trained to length {part.max_length}: its shortest are of {least}."
            )
    return plan.model_copy(update={"parts": tuple(parts)})


class Gap(NamedTuple):
    """The generalization gap of a run, on dev examples: the paper's Figure 10 in one number.

    Attributes:
        main_length: To which the main task was trained.
        aux_length: To which the auxiliaries were trained.
        gap: The mean over the grid of the distance between the accuracies of the main task and of an auxiliary, then
            the mean over the auxiliaries: from 0 to 1.
    """

    main_length: int
    aux_length: int
    gap: Fraction


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
    counts = record.curve[-1].correct
    distances = [
        abs(counts[main.task][length] - counts[auxiliary.task][length])
        for auxiliary in auxiliaries
        for length in counts[main.task]
    ]
    gap = Fraction(sum(distances), DEV_EXAMPLES * len(distances))
    return Gap(main.max_length, auxiliaries[0].max_length, gap)
