"""The systems of a suite as the board lists them: the trained ones by table and in order, and those of arm `open`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from lgbench.data.suites import Suite
from lgbench.leaderboard.order import Entry, Section, open_places, sections
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
    """The systems of a suite. A system may be both in a section and in `opened`.

    Attributes:
        suite: The suite.
        sections: The tables of trained systems.
        opened: Those evaluated under `open`, by open score.
    """

    suite: Suite
    sections: tuple[Section[Entry], ...]
    opened: tuple[Opened, ...]

    @property
    def trained(self) -> tuple[Entry, ...]:
        """Every trained system, in the order of the tables."""
        return tuple(entry for section in self.sections for entry in section.entries)


def list_systems(suite: Suite, scores: Sequence[SuiteScores]) -> Standings:
    """The systems of a suite as the board lists them.

    Args:
        suite: The suite.
        scores: The scores of systems. Other suites are ignored.
    """
    of_suite = [each for each in scores if each.suite == suite]
    trained = [Entry(each, each.trained) for each in of_suite if each.trained is not None]
    return Standings(suite=suite, sections=tuple(sections(trained)), opened=tuple(_opened(of_suite)))


def _opened(of_suite: Sequence[SuiteScores]) -> Iterator[Opened]:
    entries = [(each, each.untrained) for each in of_suite if each.untrained is not None]
    values = [(open_score(scores), each.system.name) for each, scores in entries]
    for number, place in open_places(values):
        yield Opened(*entries[number], place=place)


def open_score(scores: OpenScores) -> Fraction:
    """The open score, or 0 without one."""
    return scores.score.value if scores.score else Fraction()
