"""Two systems against each other: differences with intervals, and which is better. Definition: docs/protocol.md.

A seed is one observation. Of models of arm `open` with one run each, the examples that both answered are the sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from lgbench.data.suites import Cell, Suite
from lgbench.scoring.contestants import Contestant, Entry, Field
from lgbench.scoring.estimates import Estimate, mean_estimate
from lgbench.scoring.measures import Interval
from lgbench.scoring.paired import Correct, paired_difference
from lgbench.scoring.ranking import LEVEL
from lgbench.scoring.seen import ENOUGH_SEEDS, FEWEST_SEEDS
from lgbench.scoring.significance import holm, permutation_p
from lgbench.scoring.systems import score_open

Word = Literal["better", "worse", "consistent with better", "consistent with worse", "not told apart", "too few seeds"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far one system is above another.

    Attributes:
        value: The difference of transfer-zone accuracies, or of gains.
        interval: 95 %; None where the spread is unknown.
        p: Two-sided; None where nothing can be said.
        over_examples: Whether the interval is over examples alone, as one run on a side says nothing of other seeds.
        paired: Whether it is over pairs of replies to the same example.
    """

    value: Fraction
    interval: Interval | None
    p: float | None
    over_examples: bool
    paired: bool = False


@dataclass(frozen=True, kw_only=True)
class Duel:
    """Two systems.

    Attributes:
        first: The one that the differences are of.
        second: The one that is subtracted.
        differences: For each group, or main task of arm `open`, that both have complete runs of: at least one.
        gains: The difference of gains for each of these in which both have one.
        mean: The mean difference over all of these, which decides.
        accuracies: The mean accuracy of each over them.
        corrected_p: That of `mean` after Holm's correction over the duels.
        corrected_ps: Those of `differences` after Holm's correction over those of all duels.
        fewest_seeds: Of the system and group with the fewest runs.
    """

    first: str
    second: str
    differences: Mapping[str, Difference]
    gains: Mapping[str, Difference]
    mean: Difference
    accuracies: tuple[Fraction, Fraction]
    fewest_seeds: int
    corrected_p: float | None = None
    corrected_ps: Mapping[str, float | None]

    @property
    def word(self) -> Word:
        """What can be said of the first."""
        if not self.mean.paired and self.fewest_seeds < FEWEST_SEEDS:
            return "too few seeds"
        if self.corrected_p is None or self.corrected_p > LEVEL:
            return "not told apart"
        if self.mean.paired or self.fewest_seeds >= ENOUGH_SEEDS:
            return "better" if self.mean.value > 0 else "worse"
        return "consistent with better" if self.mean.value > 0 else "consistent with worse"


def find_duels(
    contestants: Sequence[Contestant], pairs: Sequence[tuple[str, str]], suite: Suite, fields: Sequence[Field]
) -> tuple[Duel, ...]:
    """The pairs that have a field in common, compared, with p-values after Holm's correction.

    That of means is over the duels, that of fields over the fields of all duels.
    """
    named = {each.name: each for each in contestants}
    duels = []
    for one, other in pairs:
        if common := [each for each in fields if one in each.entries and other in each.entries]:
            duels.append(_duel(named[one], named[other], suite, common))
    means = _holm({(duel.first, duel.second): duel.mean.p for duel in duels})
    of_fields = _holm({(d.first, d.second, name): each.p for d in duels for name, each in d.differences.items()})
    return tuple(
        replace(
            duel,
            corrected_p=means[duel.first, duel.second],
            corrected_ps={name: of_fields[duel.first, duel.second, name] for name in duel.differences},
        )
        for duel in duels
    )


def _duel(first: Contestant, second: Contestant, suite: Suite, fields: Sequence[Field]) -> Duel:
    sides = {each.name: (each.entries[first.name], each.entries[second.name]) for each in fields}
    is_open = fields[0].group is None
    differences, mean = _of_open(first, second, suite, fields) if is_open else _of_trained(sides)
    one, other = (mean_estimate(side[place].accuracy for side in sides.values()) for place in (0, 1))
    assert one is not None
    assert other is not None
    return Duel(
        first=first.name,
        second=second.name,
        differences=differences,
        gains={
            name: _of_estimate(one.gain - other.gain)
            for name, (one, other) in sides.items()
            if one.gain is not None and other.gain is not None
        },
        mean=mean,
        accuracies=(one.value, other.value),
        fewest_seeds=min(entry.seeds for side in sides.values() for entry in side),
        corrected_ps={},
    )


def _of_trained(sides: Mapping[str, tuple[Entry, Entry]]) -> tuple[dict[str, Difference], Difference]:
    """The difference in each group, and the mean of these. Its interval and p are Welch and Satterthwaite's."""
    differences = {name: _difference(one, other) for name, (one, other) in sides.items()}
    if len(differences) == 1:
        return differences, next(iter(differences.values()))
    estimate = mean_estimate(one.accuracy - other.accuracy for one, other in sides.values())
    assert estimate is not None
    return differences, _of_estimate(estimate)


def _difference(one: Entry, other: Entry) -> Difference:
    """Of one field: where no seed of an arm differs from another, p is that of the exact permutation test."""
    found = _of_estimate(one.accuracy - other.accuracy)
    if found.interval is not None or found.over_examples:
        return found
    seeds = [next(iter(each.accuracy.weights)).accuracies for each in (one, other)]
    sides = permutation_p(seeds[0], seeds[1]), permutation_p(seeds[1], seeds[0])
    return Difference(value=found.value, interval=None, p=min(1.0, 2 * float(min(sides))), over_examples=False)


def _of_estimate(estimate: Estimate) -> Difference:
    return Difference(
        value=estimate.value, interval=estimate.interval, p=estimate.p_value, over_examples=estimate.one_seed
    )


def _of_open(
    first: Contestant, second: Contestant, suite: Suite, fields: Sequence[Field]
) -> tuple[dict[str, Difference], Difference]:
    """The difference in each main task, and that of the open scores: a run answers all tasks, so it is one observation.

    With one run each, replies to the same example are pairs.
    """
    ours, theirs = (each.correct[0] if len(each.results) == 1 and each.correct else None for each in (first, second))
    if ours is not None and theirs is not None:
        cells = {each.name: [Cell(each.task, length) for length in each.zone] for each in fields}
        differences = {name: _of_pairs(ours, theirs, [own]) for name, own in cells.items()}
        return differences, _of_pairs(ours, theirs, list(cells.values()))
    sides = [(each.entries[first.name], each.entries[second.name]) for each in fields]
    differences = {each.name: _difference(*side) for each, side in zip(fields, sides, strict=True)}
    scores = [score_open(each.results, suite) for each in (first, second)]
    one, other = (each.score for each in scores if each is not None)
    assert one is not None
    assert other is not None
    return differences, _of_estimate(one - other)


def _of_pairs(first: Correct, second: Correct, tasks: Sequence[Sequence[Cell]]) -> Difference:
    found = paired_difference(first, second, tasks)
    return Difference(value=found.value, interval=found.interval, p=found.p, over_examples=True, paired=True)


def _holm(p_values: Mapping[tuple[str, ...], float | None]) -> dict[tuple[str, ...], float | None]:
    known = {key: p for key, p in p_values.items() if p is not None}
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    return {key: corrected.get(key) for key in p_values}
