"""The systems of a suite as the board lists them: the trained ones by table and in order, and those of arm `open`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from lgbench.data.suites import Suite
from lgbench.leaderboard.order import Entry, Section, sections
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.systems import OpenScores


class Opened(NamedTuple):
    """A system of arm `open`.

    Attributes:
        on_suite: The system on the suite.
        scores: Its scores.
        place: One more than the number of systems with a higher open score.
    """

    on_suite: SuiteScores
    scores: OpenScores
    place: int


@dataclass(frozen=True, kw_only=True)
class Standings:
    """The systems of a suite. A system may stand both in a section and in `opened`.

    Attributes:
        suite: The suite.
        sections: The tables of trained systems.
        opened: Those evaluated under `open`, by open score.
    """

    suite: Suite
    sections: tuple[Section, ...]
    opened: tuple[Opened, ...]

    @property
    def trained(self) -> tuple[Entry, ...]:
        """Every trained system, in the order of the tables."""
        return tuple(entry for section in self.sections for entry in section.entries)


def list_systems(suite: Suite, scores: Sequence[SuiteScores]) -> Standings:
    """The systems of a suite as the board lists them.

    Args:
        suite: The suite.
        scores: Of systems; those on other suites are left out.
    """
    of_suite = [each for each in scores if each.suite == suite]
    return Standings(suite=suite, sections=tuple(sections(of_suite)), opened=_opened(of_suite))


def _opened(of_suite: Sequence[SuiteScores]) -> tuple[Opened, ...]:
    entries = [(each, each.untrained) for each in of_suite if each.untrained is not None]
    ordered = sorted(entries, key=lambda entry: (-_open_score(entry[1]), entry[0].system.name))
    values = [_open_score(scores) for _, scores in ordered]
    return tuple(Opened(*entry, place=1 + values.index(_open_score(entry[1]))) for entry in ordered)


def _open_score(scores: OpenScores) -> Fraction:
    return scores.score.value if scores.score else Fraction()
