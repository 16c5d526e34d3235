"""One run as a group scores it. Definitions: docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from lgbench.data.groups import ZONES, Group, Zone
from lgbench.results.schema import Result
from lgbench.scoring.measures import Horizon, counts_by_task, horizon, mean_accuracy, mean_gap


@dataclass(frozen=True, kw_only=True)
class SeedScores:
    """One complete run as a group scores it: by the group's main task.

    Attributes:
        result: The result.
        zones: Accuracy by zone; None where the suite has no cell in the zone.
        horizon_90: H90.
        horizon_50: H50.
        gaps: For each other task of the arm, the mean over the grid of the distance between its accuracy and the main
            task's: the generalization gap.
        others: For each other task of the arm, the mean of its accuracies at the grid's lengths up to its training
            length; None where the grid has none.
    """

    result: Result
    zones: Mapping[Zone, Fraction | None]
    horizon_90: Horizon | None
    horizon_50: Horizon | None
    gaps: Mapping[str, Fraction]
    others: Mapping[str, Fraction | None]


def score_seed(result: Result, group: Group) -> SeedScores:
    """Score a complete run of a trained arm for a group that it serves."""
    counts = counts_by_task(result)
    main = counts[group.main]
    others = {task: greatest for task, greatest in group.mixture(result.arm).tasks.items() if task != group.main}
    trained = {task: [length for length in group.grid if length <= greatest] for task, greatest in others.items()}
    return SeedScores(
        result=result,
        zones={zone: mean_accuracy(main, group.zone_lengths(zone)) for zone in ZONES},
        horizon_90=horizon(main, group.grid, percent=90),
        horizon_50=horizon(main, group.grid, percent=50),
        gaps={task: mean_gap(main, counts[task], group.grid) for task in trained},
        others={task: mean_accuracy(counts[task], lengths) for task, lengths in trained.items()},
    )
