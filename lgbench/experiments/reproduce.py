"""Every arm and seed of a suite's groups, trained and evaluated: was transfer seen?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from lgbench.experiments.base import ArmExperiment, Option, Report, Run, SeedList, Seeds

if TYPE_CHECKING:
    from lgbench.data.suites import Suite
    from lgbench.experiments.monitor import Monitor

_LEARNED = Fraction(95, 100)
USUAL_ARMS = ("main_only", "transfer", "control")


@dataclass(frozen=True, kw_only=True)
class Reproduce(ArmExperiment):
    """Train and evaluate every arm and seed, then say whether transfer was seen. Rerun to resume."""

    group: Annotated[
        tuple[str, ...],
        Option(
            "A group (`lgbench suites show`), or several joined by commas; may be repeated.",
            metavar="NAME",
            shown="all",
        ),
    ] = ()
    arm: Annotated[
        tuple[str, ...],
        Option(
            "An arm, or several joined by commas; may be repeated. `--arm direct,short_aux` adds these two.",
            metavar="NAME",
            shown="main_only, transfer, control",
        ),
    ] = ()
    seeds: Seeds = 5
    seed: SeedList = ()

    @property
    def title(self) -> str:
        """The usual folder's name."""
        return f"{self.opened_suite().name}-{self.preset}"

    @property
    def arms(self) -> tuple[str, ...]:
        """Each arm once. `direct` and `short_aux` alone would be compared with nothing: they join the others."""
        more = set(self.arm) <= {"direct", "short_aux"}
        return tuple(dict.fromkeys([*USUAL_ARMS, *self.arm] if more else self.arm))

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """Seed by seed, then by group and arm, so that every group is seen once early.

        An arm that trains on the same list in several groups is one run, named for the first of them.
        """
        recipe = self.recipe(device)
        experiments = [(each.run, each.arm) for each in _arms_of_groups(recipe.suite, self.group, self.arms)]
        for seed in self.seed or range(self.seeds):
            for group, arm in dict.fromkeys(experiments):
                folder = root / f"{group}-{arm}-seed{seed}"
                yield Run(recipe.plan(group, arm, seed), folder, name=f"{group} {arm} seed {seed}")

    def notes(self) -> list[str]:
        """Those of the suite, and a sentence for each arm of a wanted group whose run is named for another group."""
        return super().notes() + [
            f"The {each.arm} run of {each.group} is that of {each.run}, which trains on the same list."
            for each in _arms_of_groups(self.opened_suite(), self.group, self.arms)
            if each.group != each.run
        ]

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Train it and evaluate its checkpoint."""
        from lgbench.experiments.finish import evaluate_run

        super().finish(run, device, monitor)
        evaluate_run(run.plan, run.folder, device=device, monitor=monitor)

    def milestones(self, planned: Sequence[Run], finished: Sequence[Run]) -> list[str]:
        """The verdict on each group that the last finished run completes, where more groups follow."""
        from lgbench.evaluation.folder import RESULT_FILE
        from lgbench.models.folders import RESULT
        from lgbench.results.schema import Result
        from lgbench.scoring.systems import score_trained
        from lgbench.util.records import read_record

        suite, done = self.opened_suite(), {run.folder for run in finished}
        served = _arms_of_groups(suite, self.group, self.arms)
        complete = []
        for group in dict.fromkeys(each.group for each in served):
            needed = {(each.run, each.arm) for each in served if each.group == group}
            runs = {run.folder for run in planned if (run.plan.group, run.plan.arm) in needed}
            if runs <= done and finished[-1].folder in runs:
                complete.append(group)
        if not complete or done >= {run.folder for run in planned}:  # then the report follows
            return []
        results = [read_record(run.folder / RESULT / RESULT_FILE, Result) for run in finished]
        verdicts = score_trained(results, suite).verdicts
        # A group whose only run so far bears another's name, as main_only of add-subtract does, has no verdict yet.
        return [f"{group} is finished. So far: {verdicts[group].word}." for group in complete if group in verdicts]

    def report(self, runs: Sequence[Run]) -> Report:
        """What each arm was trained on, and the arms side by side."""
        from lgbench.evaluation.rescoring import rescore
        from lgbench.models.folders import RESULT
        from lgbench.scoring.systems import score_trained
        from lgbench.scoring.verdicts import comparison_parts, comparison_record

        scores = score_trained([rescore(run.folder / RESULT).result for run in runs], self.opened_suite())
        parts = [*comparison_parts(scores, names=self.group), "", *_tokens(runs)]
        return Report(parts, comparison_record(scores))


class _ArmOfGroup(NamedTuple):
    """An arm of a wanted group, and the group that its run is named for."""

    group: str
    arm: str
    run: str


def _arms_of_groups(suite: Suite, groups: Sequence[str], arms: Sequence[str]) -> list[_ArmOfGroup]:
    from lgbench.scoring.comparison import same_experiment

    wanted = [suite.group(name) for name in groups] or list(suite.groups)
    return [
        _ArmOfGroup(group.name, arm, same_experiment(suite, arm, group)[0].name) for group in wanted for arm in arms
    ]


def _tokens(runs: Sequence[Run]) -> list[str]:
    """How much each arm was trained on. The examples are the same for every seed."""
    first: dict[tuple[str, str], Run] = {}
    for run in runs:
        first.setdefault((run.plan.group, run.plan.arm), run)
    lines = []
    for (group, arm), run in first.items():
        record = run.record()
        read = f"{record.tokens:,} tokens, of which {record.target_tokens:,} in targets"
        lines.append(f"{group} {arm}: trained on {read}")
        if run.plan.method is not None:
            lines += _of_method([each for each in runs if (each.plan.group, each.plan.arm) == (group, arm)])
    return lines


def _of_method(runs: Sequence[Run]) -> list[str]:
    """What a method took beyond the plain runs of an arm, and how soon they learned the main task."""
    from lgbench.training.costs import extra_cost
    from lgbench.training.points import steps_to

    records = [run.record() for run in runs]
    steps = [steps_to(record, _LEARNED) for record in records]
    told = ", ".join("never" if step is None else f"{step:,}" for step in steps)
    lines = [f"  95 % in distribution on dev examples at step {told}"]
    if extra := extra_cost(records[0]):
        lines.append(f"  {extra}")
    return lines
