"""The order of the systems of a suite: by division, verification, coverage, tier and score, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Generic, Literal, NamedTuple, Protocol, Self, TypeVar, get_args

from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.ranking import Place, Spread, places
from lgbench.scoring.seen import FEWEST_SEEDS
from lgbench.scoring.systems import TrainedScores
from lgbench.submissions.tiers import Tier
from lgbench.training.spec import Division

Coverage = Literal["ranked", "few_seeds", "fewer_groups"]
"""Whether a system covers the suite with enough seeds, with fewer, or covers fewer groups."""


class Rank(NamedTuple):
    """The sort key of a trained system on the board.

    Attributes:
        name: The system.
        division: Its division.
        tier: Its tier.
        coverage: Its coverage of the suite.
        covered: The number of groups that it covers.
        has_few_seeds: Whether some group has so few transfer seeds that the system comes after the others.
        score: Its score; None without a covered group.
    """

    name: str
    division: Division
    tier: Tier
    coverage: Coverage
    covered: int
    has_few_seeds: bool
    score: Spread | None


class Ranked(Protocol):
    """A system that can be put in order."""

    @property
    def rank(self) -> Rank:
        """The sort key of the system."""

    def at(self, place: Place) -> Self:
        """The same in a place."""


class Entry(NamedTuple):
    """A system on the board, trained under the arms.

    Attributes:
        on_suite: The system, with its division and its tier.
        scores: Its scores.
        place: Its place among the ranked systems of its division; None if it is not ranked.
    """

    on_suite: SuiteScores
    scores: TrainedScores
    place: Place | None = None

    @property
    def rank(self) -> Rank:
        """The sort key of the system."""
        return rank(self.on_suite, self.scores)

    def at(self, place: Place) -> Entry:
        """The same in a place."""
        return self._replace(place=place)


_Entry = TypeVar("_Entry", bound=Ranked)


class Section(NamedTuple, Generic[_Entry]):
    """Systems of one table, at least one, in order.

    Attributes:
        division: The division of all.
        is_verified: Whether a maintainer checked their models. Verified systems are listed above others.
        coverage: The coverage of all.
        entries: The systems by tier, from the highest, then by score.
    """

    division: Division
    is_verified: bool
    coverage: Coverage
    entries: tuple[_Entry, ...]


def sections(entries: Sequence[_Entry]) -> Iterator[Section[_Entry]]:
    """The trained systems of a suite, in the order of the board.

    Systems are ranked within a tier, by a test of their differences. Places continue from those of the tiers above: no
    score puts a system above one of a higher tier.
    """
    ranks = [(entry.rank, entry) for entry in entries]
    for division in get_args(Division):
        ranked_above = 0
        for is_verified in (True, False):
            for coverage in get_args(Coverage):
                here = [
                    (own, entry)
                    for own, entry in ranks
                    if own.division == division and own.tier.is_verified == is_verified and own.coverage == coverage
                ]
                here.sort(key=_order)
                ordered = tuple(entry for _, entry in here)
                if coverage == "ranked":
                    ordered = tuple(_placed(here, ranked_above))
                    ranked_above += len(ordered)
                if ordered:
                    yield Section(division, is_verified, coverage, ordered)


def rank(on_suite: SuiteScores, scores: TrainedScores) -> Rank:
    """The sort key of a system."""
    return Rank(
        name=on_suite.system.name,
        division=on_suite.division,
        tier=on_suite.tier,
        coverage=coverage(scores),
        covered=len(scores.covered),
        has_few_seeds=has_few_seeds(scores),
        score=scores.score,
    )


def open_places(scores: Sequence[tuple[Fraction, str]]) -> Iterator[tuple[int, int]]:
    """The systems of arm `open` in order, by number, each with its place: one more than the number of higher scores.

    Args:
        scores: The open score and the name of each system.
    """
    first: dict[Fraction, int] = {}
    ordered = sorted(range(len(scores)), key=lambda number: (-scores[number][0], scores[number][1]))
    for place, number in enumerate(ordered, start=1):
        yield number, first.setdefault(scores[number][0], place)


def has_few_seeds(scores: TrainedScores) -> bool:
    """Whether some group has so few transfer seeds that the system comes after the others."""
    return any(count < FEWEST_SEEDS for count in scores.seeds)


def coverage(scores: TrainedScores) -> Coverage:
    """Whether a system covers the suite, and with enough seeds."""
    if not scores.covers_suite:
        return "fewer_groups"
    return "ranked" if scores.is_ranked else "few_seeds"


def _order(ranked: tuple[Rank, object]) -> tuple[int, int, bool, Fraction, str]:
    own, _ = ranked
    return -own.tier, -own.covered, own.has_few_seeds, -(own.score.value if own.score else Fraction()), own.name


def _placed(ordered: Sequence[tuple[Rank, _Entry]], above: int) -> Iterator[_Entry]:
    """Ranked systems with their places, below some that are ranked above them."""
    for tier in sorted({own.tier for own, _ in ordered}, reverse=True):
        of_tier = [(own, entry) for own, entry in ordered if own.tier == tier]
        found = places([own.score for own, _ in of_tier if own.score is not None])
        for (_, entry), place in zip(of_tier, found, strict=True):
            yield entry.at(Place(place.first + above, place.last + above))
        above += len(of_tier)
