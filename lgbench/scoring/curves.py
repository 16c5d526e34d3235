"""What a picture of accuracy by length shows, whoever draws it: its lines and zones.

`lgbench.plotting` draws it with matplotlib, the leaderboard as plain SVG; both show these same numbers.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from lgbench.data.groups import ZONES, Group, Zone
from lgbench.results.schema import Result
from lgbench.scoring.measures import counts_by_task
from lgbench.util.errors import LgbenchError


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Accuracy of one task by length.

    Attributes:
        name: Of the arm, or of the task.
        lengths: Ascending: shape (lengths,).
        seeds: The accuracies of every seed as shares: shape (seeds, lengths), at least one seed.
    """

    name: str
    lengths: tuple[int, ...]
    seeds: tuple[tuple[Fraction, ...], ...]

    @cached_property
    def mean(self) -> tuple[Fraction, ...]:
        """The mean over seeds: shape (lengths,)."""
        return tuple(statistics.mean(shares) for shares in zip(*self.seeds, strict=True))

    def renamed(self, name: str) -> Curve:
        """The same under another name."""
        return replace(self, name=name)

    @property
    def label(self) -> str:
        """The name and the number of seeds."""
        return f"{self.name} ({len(self.seeds)} seed{'s' if len(self.seeds) > 1 else ''})"


def curve(name: str, results: Sequence[Result], task: str, lengths: Sequence[int]) -> Curve:
    """The accuracies of a task at these lengths in results of several seeds.

    Raises:
        LgbenchError: A result lacks one of the lengths.
    """
    seeds = []
    for result in results:
        counts = counts_by_task(result).get(task, {})
        if any(length not in counts for length in lengths):
            of_group = f"{result.group}, arm" if result.group else "arm"
            raise LgbenchError(
                f"The result of {of_group} {result.arm}, seed {result.seed} lacks lengths of {task}: it is partial."
            )
        seeds.append(tuple(counts[length].accuracy for length in lengths))
    return Curve(name=name, lengths=tuple(lengths), seeds=tuple(seeds))


class Span(NamedTuple):
    """Where a zone lies on the axis of lengths."""

    zone: Zone
    left: float
    right: float


def axis_ends(lengths: Sequence[int]) -> tuple[float, float]:
    """The ends of an axis of these lengths, at least two: half a step beyond the first and the last."""
    return lengths[0] - (lengths[1] - lengths[0]) / 2, lengths[-1] + (lengths[-1] - lengths[-2]) / 2


def zone_spans(group: Group) -> tuple[Span, ...]:
    """The zones that have a length in the grid, side by side over the whole axis, with borders at the training lengths.

    Examples:
        >>> from lgbench.data.suites import load_suite
        >>> [tuple(span) for span in zone_spans(load_suite("standard-v1").group("maze-path"))]
        [('in_distribution', 4.0, 32), ('transfer', 32, 68.0)]
    """
    first, last = axis_ends(group.grid)
    zones = [zone for zone in ZONES if group.zone_lengths(zone)]
    ends = {"in_distribution": group.main_length, "transfer": group.aux_length}
    borders = [first, *(ends[zone] for zone in zones[:-1]), last]
    return tuple(map(Span, zones, borders, borders[1:]))
