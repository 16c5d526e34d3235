"""Systems that are to be compared, and what they reached in the transfer zone of each group or main task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from lgbench.data.groups import Group
from lgbench.data.suites import Suite
from lgbench.results.schema import Result
from lgbench.scoring.curves import Curve, curve
from lgbench.scoring.estimates import Estimate, Sample
from lgbench.scoring.measures import counts_by_task, summarize_zone, zone_lengths
from lgbench.scoring.paired import Correct
from lgbench.scoring.systems import TrainedScores, score_open, score_trained


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A system to be compared.

    Attributes:
        name: What it is called.
        results: Its results on the suite. Limited and partial ones do not count.
        correct: For each result, in their order, which replies are right; None where that is not at hand.
        trained: For each result, how its run was trained, as a clause; None where no record says so.
    """

    name: str
    results: tuple[Result, ...]
    correct: tuple[Correct | None, ...] = ()
    trained: tuple[str | None, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A system in a group, or of arm `open` in a main task.

    Attributes:
        accuracy: In the transfer zone.
        gain: What the arm gains over `main_only`; None for `main_only` itself, without it, and under `open`.
        curve: By length, for each seed.
        unlearned: The tasks that the arm did not learn, with their accuracies up to their training lengths.
    """

    accuracy: Estimate
    gain: Estimate | None
    curve: Curve
    unlearned: Mapping[str, Fraction]

    @property
    def seeds(self) -> int:
        """Of how many runs it is."""
        return len(self.curve.seeds)


@dataclass(frozen=True, kw_only=True)
class Field:
    """What systems are compared in: a group, or a main task of arm `open`.

    Attributes:
        name: Of the group, or of the task.
        task: The main task.
        group: The group; None under `open`.
        lengths: The evaluated lengths, ascending.
        zone: Those of the transfer zone.
        entries: The systems that have complete runs, in their order.
    """

    name: str
    task: str
    group: Group | None
    lengths: tuple[int, ...]
    zone: tuple[int, ...]
    entries: Mapping[str, Entry]


def trained_fields(contestants: Sequence[Contestant], suite: Suite, arm: str) -> list[Field]:
    """The groups in which some system has complete runs of an arm, in the suite's order.

    Raises:
        LgbenchError: A system has two results of the same arm, group and seed.
    """
    scored = {each.name: score_trained(each.results, suite) for each in contestants}
    fields = []
    for group in suite.groups:
        zone = group.zone_lengths("transfer")
        if not zone or not group.has_arm(arm):
            continue
        found = {name: _trained_entry(scores, group, arm) for name, scores in scored.items()}
        entries = {name: entry for name, entry in found.items() if entry is not None}
        fields.append(
            Field(name=group.name, task=group.main, group=group, lengths=group.grid, zone=zone, entries=entries)
        )
    return [field for field in fields if field.entries]


def open_fields(contestants: Sequence[Contestant], suite: Suite) -> list[Field]:
    """The main tasks with lengths in the transfer zone, with the systems of complete runs of arm `open`.

    Raises:
        LgbenchError: A system has two results of the same seed.
    """
    scored = {each.name: score_open(each.results, suite) for each in contestants}
    results = {name: scores.results for name, scores in scored.items() if scores is not None}
    fields = []
    for task in suite.main_tasks:
        grid, zone = suite.grid(task), zone_lengths(suite, task, "transfer", None)
        if not zone or not results:
            continue
        entries = {name: _open_entry(own, task, grid, zone) for name, own in results.items()}
        fields.append(Field(name=task, task=task, group=None, lengths=grid, zone=zone, entries=entries))
    return fields


def _trained_entry(scores: TrainedScores, group: Group, arm: str) -> Entry | None:
    found = next((each for each in scores.groups if each.group == group), None)
    if found is None or arm not in found.arms or (accuracy := found.arms[arm].transfer) is None:
        return None
    base = found.arms["main_only"].transfer if "main_only" in found.arms and arm != "main_only" else None
    results = [seed.result for seed in found.arms[arm].seeds]
    return Entry(
        accuracy=accuracy,
        gain=None if base is None else accuracy - base,
        curve=curve(arm, results, group.main, group.grid),
        unlearned=found.arms[arm].unlearned(group.main),
    )


def _open_entry(results: Sequence[Result], task: str, grid: tuple[int, ...], zone: tuple[int, ...]) -> Entry:
    zones = [summarize_zone(counts_by_task(each)[task], zone) for each in results]
    known = [each for each in zones if each is not None]
    sample = Sample(tuple(each.accuracy for each in known), known[0].interval)
    shown = curve(task, results, task, grid)
    return Entry(accuracy=Estimate({sample: Fraction(1)}), gain=None, curve=shown, unlearned={})
