"""Do fewer heads, which tasks are forced to share, transfer more? Registered before its first run: studies/README.md.

The arms `main_only` and `transfer` are trained with 1, 2, 4 and 8 heads a layer: once with heads of one size, so that
fewer heads are less attention, and once with heads that together are as wide as the model, so that fewer are larger.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from pathlib import Path
from statistics import mean
from typing import ClassVar

from lgbench.experiments.base import Run
from lgbench.experiments.contrasts import ContrastExperiment, Found
from lgbench.experiments.effects import LEAST_EFFECT, Contrast, Effect, lowest_auxiliary, welch_interval
from lgbench.util.tables import Table

CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "1x32": ("heads=1", "head_size=32"),
    "2x32": ("heads=2", "head_size=32"),
    "4x32": ("heads=4",),
    "8x32": ("heads=8", "head_size=32"),
    "1x128": ("heads=1",),
    "2x64": ("heads=2",),
    "8x16": ("heads=8",),
}
"""Heads of a layer and their size, which without `head_size` is the width, 128, over the heads. 4x32 is the preset."""
CONTRASTS = (
    Contrast("2 heads against 8, equal size", "2x32", "8x32"),
    Contrast("2 heads against 8, equal width", "2x64", "8x16"),
)
ARMS = ("main_only", "transfer")


@dataclass(frozen=True, kw_only=True)
class HeadsEffect(Effect):
    """What a group says of fewer heads against more."""

    shown: ClassVar[str] = "higher with 2"
    excluded: ClassVar[str] = "under 10 points"

    @property
    def out_of_reach(self) -> str:
        """That both conditions are at one end of the scale, if so."""
        both = f"{self.contrast.higher} and {self.contrast.lower} both have"
        low, high = sorted([mean(self.higher), mean(self.lower)])
        if high < LEAST_EFFECT:
            return f"{both} under 10 % of the zone"
        return f"{both} over 90 % of the zone" if low > 1 - LEAST_EFFECT else ""

    @property
    def said(self) -> str:
        """What the verdict says."""
        fewer, more = self.contrast[1:3]
        said = {
            self.shown: f"the accuracy in the transfer zone is higher with {fewer} than with {more}",
            self.excluded: f"the seeds speak against 10 points more with {fewer} than with {more}",
            "not shown": f"it is not shown that the accuracy is higher with {fewer} than with {more}",
        }
        return f"{said[self.verdict]}: {self.difference}"


@dataclass(frozen=True, kw_only=True)
class Heads(ContrastExperiment):
    """Train main_only and transfer with few and with many attention heads. Rerun to resume.

    Class attributes:
        conditions: The changes of each.
    """

    groups: ClassVar[tuple[str, ...]] = ("capitalize-reverse", "copy-mqar", "add-carry")
    conditions: ClassVar[Mapping[str, tuple[str, ...]]] = CONDITIONS
    contrasts: ClassVar[tuple[Contrast, ...]] = CONTRASTS
    effect: ClassVar[type[Effect]] = HeadsEffect
    effects_title: ClassVar[str] = "Accuracy in the transfer zone, arm transfer: with 2 heads minus with 8"

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """All of strings before addition, as it takes longer; seed by seed, so that every condition is seen early."""
        from lgbench.training.spec import Recipe

        suite = self.opened_suite()
        recipes = {
            condition: Recipe(suite, preset=self.preset, changes=[*self.changes, *changes], device=device)
            for condition, changes in self.conditions.items()
        }
        domains = [suite.domain(suite.group(group)).name for group in self.groups]
        for domain, seed in product(dict.fromkeys(domains), self.seeds):
            groups = [group for group, its in zip(self.groups, domains, strict=True) if its == domain]
            for group, condition, arm in product(groups, recipes, ARMS):
                folder = root / f"{group}-{condition}-{arm}-seed{seed}"
                name = f"{group} {condition} {arm} seed {seed}"
                yield Run(recipes[condition].plan(group, arm, seed), folder, name, condition)

    def tables(self, found: Found) -> list[Table]:
        """What each condition has learned under each arm, a table for each group, and the gains."""
        groups = [group for group in self.groups if any(key.group == group for key in found)]
        return [*(_means(group, found) for group in groups), _gains(found)]


def _means(group: str, found: Found) -> Table:
    rows = []
    for key, by_seed in found.items():
        if key.group == group:
            seeds = list(by_seed.values())
            measures = (
                [each.in_distribution for each in seeds],
                lowest_auxiliary(seeds),
                [each.mastered for each in seeds if each.mastered is not None],
                [each.transfer for each in seeds],
                [each.beyond for each in seeds if each.beyond is not None],
            )
            rows.append((key.condition, key.arm, len(seeds), *map(_spread, measures)))
    columns = ("heads", "arm", "seeds", "in-dist.", "auxiliaries", "mastered", "zone", "beyond")
    title = f"{group}: accuracy in %, mean over seeds (lowest to highest); auxiliaries mastered at, in % of the steps"
    return Table(title, columns, rows, text=2)


def _spread(shares: Sequence[Fraction]) -> str | None:
    """The mean, and in parentheses the lowest and the highest."""
    from lgbench.scoring.display import percent

    if not shares:
        return None
    return f"{percent(mean(shares))} ({percent(min(shares))} to {percent(max(shares))})"


def _gains(found: Found) -> Table:
    """What the arm transfer adds to main_only in each condition: whether a higher accuracy is more transfer."""
    from lgbench.scoring.display import points

    rows = []
    for key, with_auxiliaries in found.items():
        alone = found.get(key._replace(arm="main_only"))
        if key.arm == "transfer" and alone is not None:
            arms = [[each.transfer for each in seeds.values()] for seeds in (with_auxiliaries, alone)]
            interval = welch_interval(*arms)
            shown = None if interval is None else " to ".join(map(points, interval))
            rows.append((key.group, key.condition, points(mean(arms[0]) - mean(arms[1])), shown))
    columns = ("group", "heads", "gain", "95 % interval")
    return Table("Transfer gain in the zone: transfer minus main_only, in points", columns, rows, text=2)
