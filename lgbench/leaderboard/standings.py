"""The systems of a suite as the board lists them: which table, in which order, at which place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from lgbench.data.suites import Suite
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.ranking import Place, places
from lgbench.scoring.seen import FEWEST_SEEDS
from lgbench.scoring.systems import OpenScores, TrainedScores


class Trained(NamedTuple):
    """A system trained under the arms.

    Attributes:
        on_suite: The system on the suite.
        scores: Its scores.
        place: Its possible places; None where it is not ranked.
    """

    on_suite: SuiteScores
    scores: TrainedScores
    place: Place | None = None

    @property
    def has_few_seeds(self) -> bool:
        """Whether some covered group has too few `transfer` seeds for any verdict."""
        return any(count < FEWEST_SEEDS for count in self.scores.seeds)


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
    """The systems of a suite, by table and in order. A system may stand in a trained table and in `opened`.

    Attributes:
        suite: The suite.
        ranked: Those that cover the suite with enough seeds, by score.
        few_seeds: Those that cover it with fewer; without places.
        fewer_groups: Those that do not cover it; without places.
        opened: Those evaluated under `open`, by open score.
    """

    suite: Suite
    ranked: tuple[Trained, ...]
    few_seeds: tuple[Trained, ...]
    fewer_groups: tuple[Trained, ...]
    opened: tuple[Opened, ...]

    @property
    def trained(self) -> tuple[Trained, ...]:
        """Every trained system, in the order of the tables."""
        return (*self.ranked, *self.few_seeds, *self.fewer_groups)


def standings(suite: Suite, scores: Sequence[SuiteScores]) -> Standings:
    """The systems of a suite as the board lists them.

    Args:
        suite: The suite.
        scores: Of systems; those on other suites are left out.
    """
    of_suite = [each for each in scores if each.suite == suite]
    trained = sorted((Trained(each, each.trained) for each in of_suite if each.trained is not None), key=_order)
    ranked = [entry for entry in trained if entry.scores.is_ranked]
    found = places([entry.scores.score for entry in ranked if entry.scores.score is not None])
    covering = [entry for entry in trained if entry.scores.covers_suite]
    return Standings(
        suite=suite,
        ranked=tuple(entry._replace(place=place) for place, entry in zip(found, ranked, strict=True)),
        few_seeds=tuple(entry for entry in covering if not entry.scores.is_ranked),
        fewer_groups=tuple(entry for entry in trained if not entry.scores.covers_suite),
        opened=_opened(of_suite),
    )


def _order(entry: Trained) -> tuple[int, bool, Fraction, str]:
    score = entry.scores.score.value if entry.scores.score else Fraction()
    return -len(entry.scores.covered), entry.has_few_seeds, -score, entry.on_suite.system.name


def _opened(of_suite: Sequence[SuiteScores]) -> tuple[Opened, ...]:
    entries = [(each, each.untrained) for each in of_suite if each.untrained is not None]
    ordered = sorted(entries, key=lambda entry: (-_open_score(entry[1]), entry[0].system.name))
    values = [_open_score(scores) for _, scores in ordered]
    return tuple(Opened(*entry, place=1 + values.index(_open_score(entry[1]))) for entry in ordered)


def _open_score(scores: OpenScores) -> Fraction:
    return scores.score.value if scores.score else Fraction()
