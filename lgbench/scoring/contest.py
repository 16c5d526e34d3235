"""Several systems compared on a suite, and what of them is compared with nothing. Definition: docs/protocol.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite
from lgbench.scoring.contestants import Contestant, Field, open_fields, trained_fields
from lgbench.scoring.duels import Duel, find_duels


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Systems compared on a suite in one arm.

    Attributes:
        suite: The suite.
        arm: The arm.
        contestants: All of them, in their order.
        fields: What is compared: groups, or main tasks of arm `open`.
        alone: For each system, the groups that it has and none that it is compared with; without an entry, none.
        duels: Each pair that has a field in common; or with a baseline each other system and that one.
        apart: The pairs that have none.
    """

    suite: Suite
    arm: str
    contestants: tuple[Contestant, ...]
    fields: tuple[Field, ...]
    alone: Mapping[str, tuple[str, ...]]
    duels: tuple[Duel, ...]
    apart: tuple[tuple[str, str], ...]

    @property
    def is_open(self) -> bool:
        """Whether they are models of arm `open`."""
        return self.arm == OPEN_ARM


def compare_systems(
    contestants: Sequence[Contestant], suite: Suite, *, arm: str = "transfer", baseline: str | None = None
) -> Contest:
    """Compare systems in one arm: group by group, or under `open` main task by main task.

    Args:
        contestants: At least two, with names of their own.
        suite: The suite.
        arm: The arm.
        baseline: The system that every other is compared with; None for all pairs.

    Raises:
        LgbenchError: A system has two results of the same arm, group and seed.
    """
    fields = open_fields(contestants, suite) if arm == OPEN_ARM else trained_fields(contestants, suite, arm)
    names = [each.name for each in contestants]
    pairs = [(n, baseline) for n in names if n != baseline] if baseline is not None else list(combinations(names, 2))
    duels = find_duels(contestants, pairs, suite, fields)
    compared = {
        name: [each for duel in duels if name in (duel.first, duel.second) for each in duel.differences]
        for name in names
    }
    has = {name: [each.name for each in fields if name in each.entries] for name in names}
    alone = {name: tuple(each for each in has[name] if each not in compared[name]) for name in names}
    return Contest(
        suite=suite,
        arm=arm,
        contestants=tuple(contestants),
        fields=tuple(each for each in fields if any(each.name in duel.differences for duel in duels)),
        alone={name: groups for name, groups in alone.items() if groups},
        duels=duels,
        apart=tuple(pair for pair in pairs if pair not in [(duel.first, duel.second) for duel in duels]),
    )
