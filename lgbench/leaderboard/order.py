"""The order of the systems of a suite: by division, verification, coverage, tier and score, in turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.ranking import Place, places
from lgbench.scoring.seen import FEWEST_SEEDS
from lgbench.scoring.systems import TrainedScores
from lgbench.training.spec import Division

Coverage = Literal["ranked", "few_seeds", "fewer_groups"]
"""Whether a system covers the suite with enough seeds, with fewer, or covers fewer groups."""


class Entry(NamedTuple):
    """A system on the board, trained under the arms.

    Attributes:
        on_suite: The system, with its division and its tier.
        scores: Its scores.
        place: Among the ranked systems of its division; None where it is not ranked.
    """

    on_suite: SuiteScores
    scores: TrainedScores
    place: Place | None = None


class Section(NamedTuple):
    """Systems of one table, at least one, in order.

    Attributes:
        division: Theirs.
        is_verified: Whether a maintainer saw their models. Those that are stand above those that are not.
        coverage: Theirs.
        entries: By tier from the highest, then score.
    """

    division: Division
    is_verified: bool
    coverage: Coverage
    entries: tuple[Entry, ...]


def sections(scores: Sequence[SuiteScores]) -> Iterator[Section]:
    """The trained systems of a suite, in the order of the board.

    Places are given within a tier, by a test that tells systems apart, and go on from those of the tiers above: no
    score lifts a system over one that is verified further.
    """
    entries = [Entry(each, each.trained) for each in scores if each.trained is not None]
    for division in get_args(Division):
        ranked_above = 0
        for is_verified in (True, False):
            for coverage in get_args(Coverage):
                here = [
                    entry
                    for entry in entries
                    if entry.on_suite.division == division
                    and entry.on_suite.tier.is_verified == is_verified
                    and _coverage(entry.scores) == coverage
                ]
                ordered = tuple(sorted(here, key=_order))
                if coverage == "ranked":
                    ordered = tuple(_placed(ordered, ranked_above))
                    ranked_above += len(ordered)
                if ordered:
                    yield Section(division, is_verified, coverage, ordered)


def has_few_seeds(scores: TrainedScores) -> bool:
    """Whether some group has so few transfer seeds that the system comes after the others."""
    return any(count < FEWEST_SEEDS for count in scores.seeds)


def _coverage(scores: TrainedScores) -> Coverage:
    if not scores.covers_suite:
        return "fewer_groups"
    return "ranked" if scores.is_ranked else "few_seeds"


def _order(entry: Entry) -> tuple[int, int, bool, Fraction, str]:
    on_suite, scores, _ = entry
    score = scores.score.value if scores.score else Fraction()
    return -on_suite.tier, -len(scores.covered), has_few_seeds(scores), -score, on_suite.system.name


def _placed(ordered: Sequence[Entry], above: int) -> Iterator[Entry]:
    """Ranked systems with their places, below some that are ranked above them."""
    for tier in sorted({entry.on_suite.tier for entry in ordered}, reverse=True):
        of_tier = [entry for entry in ordered if entry.on_suite.tier == tier]
        found = places([entry.scores.score for entry in of_tier if entry.scores.score is not None])
        for entry, place in zip(of_tier, found, strict=True):
            yield entry._replace(place=Place(place.first + above, place.last + above))
        above += len(of_tier)
