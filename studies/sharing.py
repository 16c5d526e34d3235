"""Does sharing heads cause the transfer? An experiment registered before its first run: studies/README.md has the rule.

The arm `transfer` is trained four times: the tasks share one half of the heads, or the main task has one half and the
auxiliaries the other; and the same with the units of the feed-forward layers. There are twice as many as in the preset,
so that each task has as many as there, and the two models of a pair differ in one thing: whether the main task and the
auxiliaries use the same ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import mean
from typing import Any, ClassVar, NamedTuple

from lgbench.experiments.base import Report, Run, SuiteExperiment
from lgbench.experiments.monitor import Monitor
from lgbench.models.architecture import Architecture
from lgbench.util.tables import Table

LEAST_EFFECT = Fraction(1, 10)
"""Of the transfer zone's accuracy: a smaller difference is not called an effect."""
LEVEL = Fraction(1, 20)
"""Of p after Holm's correction over all tests of the experiment."""


class Contrast(NamedTuple):
    """Two conditions that differ in one thing: whether the main task shares something with the auxiliaries.

    Attributes:
        what: Heads or units.
        shared: The condition in which it does, as in `CONDITIONS`.
        disjoint: The one in which it does not.
    """

    what: str
    shared: str
    disjoint: str


class Outcome(NamedTuple):
    """What one run has learned, on test examples.

    Attributes:
        transfer: The main task's accuracy in the transfer zone.
        in_distribution: The same up to its training length.
        auxiliaries: Each auxiliary's accuracy up to its training length.
    """

    transfer: Fraction
    in_distribution: Fraction
    auxiliaries: Mapping[str, Fraction]


CONDITIONS = ("shared-heads", "disjoint-heads", "shared-units", "disjoint-units")
CONTRASTS = (
    Contrast("heads", "shared-heads", "disjoint-heads"),
    Contrast("feed-forward units", "shared-units", "disjoint-units"),
)


@dataclass(frozen=True, kw_only=True)
class Sharing(SuiteExperiment):
    """Train the arm transfer with heads and units that its tasks share or do not. Rerun to resume.

    Class attributes:
        preset: Of all runs.
        changes: Of its settings, of all runs.
        groups: Whose arm is trained.
        seeds: Of each condition.
    """

    preset: ClassVar[str] = "tuned"
    changes: ClassVar[tuple[str, ...]] = ()
    groups: ClassVar[tuple[str, ...]] = ("capitalize-reverse", "copy-mqar")
    seeds: ClassVar[tuple[int, ...]] = (0, 1, 2, 3, 4)

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """Seed by seed, so that every condition is seen once early."""
        from lgbench.training.settings import preset_settings
        from lgbench.training.spec import Recipe

        suite = self.opened_suite()
        for seed in self.seeds:
            for group in self.groups:
                usual = preset_settings(self.preset, suite.domain(suite.group(group)), self.changes).architecture
                for condition in CONDITIONS:
                    changes = [*self.changes, *_divided(usual, condition)]
                    recipe = Recipe(suite, preset=self.preset, changes=changes, device=device)
                    folder = root / f"{group}-{condition}-seed{seed}"
                    name = f"{group} {condition} seed {seed}"
                    yield Run(recipe.plan(group, "transfer", seed), folder, name, condition)

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Train it, noting the code that does, and evaluate its checkpoint on the test examples."""
        from lgbench.experiments.code_history import NoteCode
        from lgbench.experiments.finish import evaluate_run, train_run

        train_run(run, device=device, monitor=monitor, build=None, hooks=[NoteCode(monitor.say)])
        evaluate_run(run.plan, run.folder, device=device, monitor=monitor)

    def report(self, runs: Sequence[Run]) -> Report:
        """What each condition has learned, and for each group and contrast what the rule says."""
        from lgbench.experiments.code_history import code_changes

        found: dict[tuple[str, str], dict[int, Outcome]] = {}
        for run in runs:
            found.setdefault((run.plan.group, run.extra), {})[run.plan.seed] = _outcome(run)
        complete = {key: list(seeds.values()) for key, seeds in found.items() if len(seeds) == len(self.seeds)}
        effects = compare(complete, self.groups)
        changes = code_changes([run.folder for run in runs])
        missing = "" if len(effects) == len(self.groups) * len(CONTRASTS) else "Contrasts need all seeds of both."
        parts: list[Table | str] = [*changes, _means(found), *([_effects(effects)] if effects else [])]
        parts += [*(each.sentence for each in effects), *([missing] if missing else [])]
        record = {
            "outcomes": [
                _outcome_entry(*key, seed, each) for key, seeds in found.items() for seed, each in seeds.items()
            ],
            "effects": [each.entry() for each in effects],
            "code_changes": changes,
        }
        return Report(parts, record)


def _divided(usual: Architecture, condition: str) -> tuple[str, ...]:
    """The changes of a condition: twice the heads or units, of which each task uses half."""
    use = "half" if condition.startswith("shared") else "disjoint"
    if condition.endswith("heads"):
        return f"heads={2 * usual.heads}", f"head_size={usual.size_per_head}", f"task_heads={use}"
    return f"hidden={2 * usual.hidden}", f"task_units={use}"


def _outcome(run: Run) -> Outcome:
    from lgbench.evaluation.rescoring import rescore
    from lgbench.experiments.finish import RESULT
    from lgbench.scoring.seeds import score_seed

    scores = score_seed(rescore(run.folder / RESULT).result, run.plan.suite_group)
    transfer, short = scores.zones["transfer"], scores.zones["in_distribution"]
    assert transfer is not None
    assert short is not None
    return Outcome(transfer, short, {task: share for task, share in scores.others.items() if share is not None})


@dataclass(frozen=True, kw_only=True)
class Effect:
    """What a group says of a contrast.

    Attributes:
        group: The group.
        contrast: The two conditions.
        shared: The transfer zone's accuracy of each seed where the tasks share.
        disjoint: The same where they do not.
        unlearned: What a condition has not learned, in words; empty if all is.
        p: One-sided, exact, after Holm's correction.
        interval: Welch's of 95 % of the difference of the means; None where no seed differs from another.
    """

    group: str
    contrast: Contrast
    shared: tuple[Fraction, ...]
    disjoint: tuple[Fraction, ...]
    unlearned: str
    p: Fraction
    interval: tuple[float, float] | None

    @property
    def size(self) -> Fraction:
        """The difference of the means."""
        return mean(self.shared) - mean(self.disjoint)

    @property
    def verdict(self) -> str:
        """By the rule, in its order."""
        if self.unlearned or mean(self.shared) < LEAST_EFFECT:
            return "not testable"
        if self.size >= LEAST_EFFECT and self.p <= LEVEL:
            return "needed"
        if self.interval is not None and self.interval[1] < LEAST_EFFECT:
            return "not needed"
        return "not shown"

    @property
    def sentence(self) -> str:
        """The verdict in words that claim no more than it shows."""
        what, points = self.contrast.what, f"{100 * float(self.size):.1f} points (p {float(self.p):.3f})"
        if self.unlearned:
            return f"{self.group}, {what}: not testable, as {self.unlearned}."
        if self.verdict == "not testable":
            return f"{self.group}, {what}: not testable, as there is under 10 points of transfer to lose."
        said = {
            "needed": f"transfer needs {what} that the tasks share: without them it loses {points}",
            "not needed": f"transfer does not need shared {what}: without them it loses under 10 points, {points}",
            "not shown": f"it is not shown that transfer needs shared {what}: without them it loses {points}",
        }
        return f"{self.group}, {what}: {said[self.verdict]}."

    def entry(self) -> Mapping[str, Any]:
        """For programs."""
        return {
            "group": self.group,
            **self.contrast._asdict(),
            "effect": float(self.size),
            "interval": self.interval,
            "p": float(self.p),
            "unlearned": self.unlearned,
            "verdict": self.verdict,
        }


def compare(outcomes: Mapping[tuple[str, str], Sequence[Outcome]], groups: Sequence[str]) -> list[Effect]:
    """Every contrast of every group whose conditions are both there.

    Args:
        outcomes: By group and condition, those of all seeds.
        groups: In the order of the report.
    """
    from lgbench.scoring.estimates import Estimate, Sample
    from lgbench.scoring.measures import Interval
    from lgbench.scoring.significance import holm, permutation_p

    pairs = [
        (group, contrast, outcomes[group, contrast.shared], outcomes[group, contrast.disjoint])
        for contrast in CONTRASTS
        for group in groups
        if {(group, contrast.shared), (group, contrast.disjoint)} <= outcomes.keys()
    ]
    accuracies = [[tuple(each.transfer for each in side) for side in sides] for _, _, *sides in pairs]
    tests = len(groups) * len(CONTRASTS)  # those that are not there yet count too
    p_values = holm([*(permutation_p(*sides) for sides in accuracies), *[Fraction(1)] * (tests - len(pairs))])
    found = []
    for (group, contrast, *sides), (shared, disjoint), p in zip(pairs, accuracies, p_values, strict=False):
        samples = [Sample(side, Interval(0, 1)) for side in (shared, disjoint)]
        interval = Estimate({samples[0]: Fraction(1), samples[1]: Fraction(-1)}).interval
        found.append(
            Effect(
                group=group,
                contrast=contrast,
                shared=shared,
                disjoint=disjoint,
                unlearned="; ".join(filter(None, map(_unlearned, contrast[1:], sides))),
                p=p,
                interval=None if interval is None else (interval.low, interval.high),
            )
        )
    return found


def _unlearned(condition: str, seeds: Sequence[Outcome]) -> str:
    """What a condition has not learned to 90 % in the mean of its seeds, in words."""
    from lgbench.scoring.measures import SUCCESS

    shares = {"the main task in distribution": mean(each.in_distribution for each in seeds)}
    shares |= {task: mean(each.auxiliaries[task] for each in seeds) for task in seeds[0].auxiliaries}
    low = [f"{what} ({100 * float(share):.0f} %)" for what, share in shares.items() if share < SUCCESS]
    return f"with {condition} it has not learned {', '.join(low)}" if low else ""


def _means(found: Mapping[tuple[str, str], Mapping[int, Outcome]]) -> Table:
    from lgbench.scoring.display import percent

    rows = []
    for (group, condition), seeds in found.items():
        each = list(seeds.values())
        auxiliaries = min(mean(one.auxiliaries[task] for one in each) for task in each[0].auxiliaries)
        transfer = [one.transfer for one in each]
        shown = [mean(one.in_distribution for one in each), auxiliaries, mean(transfer), min(transfer), max(transfer)]
        rows.append((group, condition, len(each), *map(percent, shown)))
    columns = ("group", "condition", "seeds", "in-dist.", "auxiliaries", "transfer", "lowest", "highest")
    title = "Accuracy on test examples, in %, mean over seeds; of the auxiliaries the lowest"
    return Table(title, columns, rows, text=2)


def _effects(effects: Sequence[Effect]) -> Table:
    rows = []
    for each in effects:
        low, high = each.interval or (None, None)
        interval = "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
        shown = (f"{100 * float(each.size):.1f}", interval, f"{float(each.p):.3f}")
        rows.append((each.group, each.contrast.what, *shown, each.verdict))
    columns = ("group", "shared or not", "points", "95 % interval", "p (Holm)", "shared are")
    return Table("Lost in the transfer zone when the tasks do not share", columns, rows, text=2)


def _outcome_entry(group: str, condition: str, seed: int, each: Outcome) -> Mapping[str, Any]:
    return {
        "group": group,
        "condition": condition,
        "seed": seed,
        "transfer": float(each.transfer),
        "in_distribution": float(each.in_distribution),
        "auxiliaries": {task: float(share) for task, share in each.auxiliaries.items()},
    }
