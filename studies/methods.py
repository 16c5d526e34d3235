"""What the sources' methods add to length transfer: registered before its first run, studies/README.md has the rule.

Each method is trained as a system of the leaderboard is: with one recipe under the arms of both string groups. Its
source's claim, put in terms of the benchmark, is one contrast: between it and the recipe without it, under the arm that
the claim is about.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import mean
from typing import ClassVar, NamedTuple

from lgbench.experiments.base import Run
from lgbench.experiments.contrasts import ContrastExperiment, Found
from lgbench.experiments.effects import LEAST_EFFECT, Contrast, Effect, compare, lowest_auxiliary
from lgbench.util.tables import Table


class System(NamedTuple):
    """A recipe.

    Attributes:
        method: As given to `--method`.
        options: As given to `--method-option`.
        changes: As given to `--set`.
    """

    method: str | None = None
    options: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


SYSTEMS: Mapping[str, System] = {
    "plain": System(),
    "ternary": System("ternary"),
    "alibi": System("positions", ("encoding=alibi",)),
    "nope": System("positions", ("encoding=nope",)),
    "rnb": System("rnb"),
    "procedural": System("procedural", ("rule=dyck", "parts=attention")),
    "self-improvement": System("self-improvement", changes=("position=nope",)),
    "state-space": System("state-space"),
}
"""`plain` is the recipe of `reference-tuned`; its runs on the leaderboard, with the same seeds, are taken for it."""
CONTRASTS = (
    Contrast("ternary weights", "plain", "ternary"),
    Contrast("ALiBi", "alibi", "plain", arm="main_only"),
    Contrast("no positions", "nope", "plain", arm="main_only"),
    Contrast("R&B", "rnb", "plain"),
    Contrast("procedural pretraining", "procedural", "plain", arm="main_only"),
    Contrast("self-improvement", "self-improvement", "nope", arm="main_only"),
    Contrast("state-space model", "plain", "state-space"),
)
ARMS = ("main_only", "transfer", "control")
DEAR = ("self-improvement", "state-space")
"""Whose runs take two and three times as long as the others: they come last."""


@dataclass(frozen=True, kw_only=True)
class MethodEffect(Effect):
    """What a group says of a claim."""

    shown: ClassVar[str] = "higher"
    excluded: ClassVar[str] = "under 10 points"

    @property
    def out_of_reach(self) -> str:
        """That both have nearly all of the zone, if so."""
        higher, lower = self.contrast[1:3]
        both = min(mean(self.higher), mean(self.lower)) > 1 - LEAST_EFFECT
        return f"{higher} and {lower} both have over 90 % of the zone" if both else ""

    @property
    def verdict(self) -> str:
        """By the rule; seeds that are all alike speak against an effect too, though they have no interval."""
        found = super().verdict
        if found == "not shown" and self.interval is None and self.size < LEAST_EFFECT:
            return self.excluded
        return found

    @property
    def said(self) -> str:
        """What the verdict says."""
        higher, lower, arm = self.contrast[1:]
        where = f"in the transfer zone under {arm}"
        said = {
            self.shown: f"the accuracy {where} is higher with {higher} than with {lower}",
            self.excluded: f"the seeds speak against 10 points more with {higher} than with {lower} {where}",
            "not shown": f"it is not shown that the accuracy {where} is higher with {higher} than with {lower}",
        }
        return f"{said[self.verdict]}: {self.difference}"


@dataclass(frozen=True, kw_only=True)
class Methods(ContrastExperiment):
    """Train every method under main_only, transfer and control. Rerun to resume."""

    contrasts: ClassVar[tuple[Contrast, ...]] = CONTRASTS
    effect: ClassVar[type[Effect]] = MethodEffect
    effects_title: ClassVar[str] = "The claims, by the accuracy in the transfer zone"
    groups: ClassVar[tuple[str, ...]] = ("copy-mqar", "capitalize-reverse")
    systems: ClassVar[Mapping[str, System]] = SYSTEMS

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """First what the claims need, seed by seed; then the other arms."""
        from lgbench.methods.registry import choose_method
        from lgbench.training.spec import Recipe

        suite = self.opened_suite()
        recipes = {
            name: Recipe(
                suite,
                preset=self.preset,
                changes=[*self.changes, *system.changes],
                method=choose_method(system.method, system.options),
                device=device,
            )
            for name, system in self.systems.items()
        }
        for name, arm, seed in self._order():
            for group in self.groups:
                folder = root / name / f"{group}-{arm}-seed{seed}"
                yield Run(recipes[name].plan(group, arm, seed), folder, f"{group} {name} {arm} seed {seed}", name)

    def _order(self) -> list[tuple[str, str, int]]:
        claimed = {(name, contrast.arm) for contrast in self.contrasts for name in contrast[1:3]}
        every = [(name, arm, seed) for arm, seed, name in product(ARMS, self.seeds, self.systems)]

        def turn(run: tuple[str, str, int]) -> tuple[bool, int, bool, int]:
            name, arm, seed = run
            return (name, arm) not in claimed, DEAR.index(name) + 1 if name in DEAR else 0, arm == "control", seed

        return sorted(every, key=turn)

    def effects(self, found: Found) -> list[Effect]:
        """Each claim is its source's, so Holm's correction is over the groups of each claim alone."""
        return [
            effect
            for contrast in self.contrasts
            for effect in compare(self.effect, self.complete(found, contrast.arm), [contrast], self.groups)
        ]

    def tables(self, found: Found) -> list[Table]:
        """What each system has learned under each arm."""
        from lgbench.scoring.display import percent

        rows = []
        for key, seeds in found.items():
            each = list(seeds.values())
            transfer = [one.transfer for one in each]
            auxiliaries = lowest_auxiliary(each)
            shown = (
                percent(mean(one.in_distribution for one in each)),
                percent(mean(auxiliaries)) if auxiliaries else None,
                *map(percent, (mean(transfer), min(transfer), max(transfer))),
            )
            rows.append((key.group, key.condition, key.arm, len(each), *shown))
        columns = ("group", "system", "arm", "seeds", "in-dist.", "auxiliaries", "transfer", "lowest", "highest")
        title = "Accuracy on test examples, in %, mean over seeds; of the auxiliaries the lowest"
        return [Table(title, columns, sorted(rows, key=self._place), text=3)]

    def _place(self, row: Sequence[object]) -> tuple[int, int, int]:
        """Where a row stands: by group, system and arm, in the order of the study."""
        systems = list(self.systems)
        return self.groups.index(str(row[0])), systems.index(str(row[1])), ARMS.index(str(row[2]))
