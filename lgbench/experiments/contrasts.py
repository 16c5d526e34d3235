"""Experiments that train the arm transfer under several conditions, and test registered contrasts between them.

A contrast is two conditions and a hypothesis: that the main task's accuracy in the transfer zone is higher in one of
them. Seeds are the unit; the test is an exact permutation test, corrected for all contrasts in all groups.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from lgbench.experiments.base import Report, Run, SuiteExperiment
from lgbench.experiments.effects import Contrast, Effect, Outcome, compare
from lgbench.util.tables import Table

if TYPE_CHECKING:
    from lgbench.experiments.monitor import Monitor
    from lgbench.results.schema import Result
    from lgbench.training.record import TrainingRecord


class Key(NamedTuple):
    """What runs that differ in their seed alone have in common."""

    group: str
    condition: str
    arm: str


Found = Mapping[Key, Mapping[int, Outcome]]
"""Outcomes by seed, of the runs that are finished."""


@dataclass(frozen=True, kw_only=True)
class ContrastExperiment(SuiteExperiment):
    """Train runs under conditions and test contrasts between them. Subclasses give the runs and the tables.

    Class attributes:
        preset: Of all runs.
        changes: Of its settings, of all runs.
        contrasts: What is tested, in every group.
        effect: Gives the verdicts.
        effects_title: Of the table of the effects.
        groups: Whose arms are trained.
        seeds: Of each condition.
    """

    preset: ClassVar[str] = "tuned"
    changes: ClassVar[tuple[str, ...]] = ()
    contrasts: ClassVar[tuple[Contrast, ...]]
    effect: ClassVar[type[Effect]]
    effects_title: ClassVar[str]
    groups: ClassVar[tuple[str, ...]]
    seeds: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4)

    @abstractmethod
    def tables(self, found: Found) -> list[Table]:
        """What each condition has learned."""

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Train it, noting the code that does, and evaluate its checkpoint on the test examples."""
        from lgbench.experiments.code_history import NoteCode
        from lgbench.experiments.finish import evaluate_run, train_run

        train_run(run, device=device, monitor=monitor, build=self.build(run), hooks=[NoteCode(monitor.say)])
        evaluate_run(run.plan, run.folder, device=device, monitor=monitor)

    def effects(self, found: Found) -> Sequence[Effect]:
        """Every contrast whose runs are all there, corrected for all of the experiment."""
        return compare(self.effect, self.complete(found, "transfer"), self.contrasts, self.groups)

    def complete(self, found: Found, arm: str) -> dict[tuple[str, str], list[Outcome]]:
        """The outcomes under an arm by group and condition, where all seeds are there."""
        return {
            (key.group, key.condition): list(seeds.values())
            for key, seeds in found.items()
            if key.arm == arm and len(seeds) == len(self.seeds)
        }

    def report(self, runs: Sequence[Run]) -> Report:
        """What each condition has learned, and for each group and contrast what the rule says."""
        from lgbench.experiments.code_history import code_changes

        found: dict[Key, dict[int, Outcome]] = {}
        for run in runs:
            key = Key(run.plan.group, run.extra, run.plan.arm)
            found.setdefault(key, {})[run.plan.seed] = learned(run)
        effects = self.effects(found)
        changes = code_changes([run.folder for run in runs])
        parts: list[Table | str] = [*changes, *self.tables(found)]
        if effects:
            parts += [_effects_table(self.effects_title, effects), *(each.sentence for each in effects)]
        tests = len(self.groups) * len(self.contrasts)
        if missing := tests - len(effects):
            parts.append(
                f"Not tested yet: {missing} of {tests} contrasts. Each needs all {len(self.seeds)} seeds of both "
                "conditions. They count in Holm's correction."
            )
        outcomes = [
            {**key._asdict(), "seed": seed, **_outcome_entry(each)}
            for key, seeds in found.items()
            for seed, each in seeds.items()
        ]
        record = {"outcomes": outcomes, "effects": [each.entry() for each in effects], "code_changes": changes}
        return Report(parts, record)


def learned(run: Run) -> Outcome:
    """What a finished run has learned.

    Raises:
        LgbenchError: Its record or result is missing or damaged.
    """
    from lgbench.evaluation.rescoring import rescore
    from lgbench.models.folders import RESULT

    return outcome_of(rescore(run.folder / RESULT).result, run.record())


def outcome_of(result: Result, record: TrainingRecord) -> Outcome:
    """What a finished run has learned, from its result and its record."""
    from lgbench.experiments.halving import see
    from lgbench.scoring.seeds import score_seed

    scores = score_seed(result, record.plan.suite_group)
    transfer, short = scores.zones["transfer"], scores.zones["in_distribution"]
    assert transfer is not None
    assert short is not None
    return Outcome(
        transfer,
        short,
        {task: share for task, share in scores.others.items() if share is not None},
        scores.zones["beyond"],
        see(record, until=record.plan.settings.steps).mastered,
    )


def _effects_table(title: str, effects: Sequence[Effect]) -> Table:
    rows = []
    for each in effects:
        low, high = each.interval or (None, None)
        interval = "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
        shown = (f"{100 * float(each.size):.1f}", interval, f"{float(each.p):.3f}")
        rows.append((each.group, each.contrast.what, *shown, each.verdict))
    columns = ("group", "contrast", "points", "95 % interval", "p (Holm)", "verdict")
    return Table(title, columns, rows, text=2)


def _outcome_entry(each: Outcome) -> Mapping[str, Any]:
    return {
        "transfer": float(each.transfer),
        "in_distribution": float(each.in_distribution),
        "auxiliaries": {task: float(share) for task, share in each.auxiliaries.items()},
        "beyond": None if each.beyond is None else float(each.beyond),
        "mastered": None if each.mastered is None else float(each.mastered),
    }
