"""Does sharing heads cause the transfer? An experiment registered before its first run: studies/README.md has the rule.

The arm `transfer` is trained four times: the tasks share one half of the heads, or the main task has one half and the
auxiliaries the other; and the same with the units of the feed-forward layers. There are twice as many as in the preset,
so that each task has as many as there, and the two models of a pair differ in one thing: whether the main task and the
auxiliaries use the same ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import ClassVar

from lgbench.experiments.base import Run
from lgbench.experiments.contrasts import ContrastExperiment, Found
from lgbench.experiments.effects import LEAST_EFFECT, Contrast, Effect, lowest_auxiliary
from lgbench.models.architecture import Architecture
from lgbench.util.tables import Table

CONDITIONS = ("shared-heads", "disjoint-heads", "shared-units", "disjoint-units")
CONTRASTS = (
    Contrast("heads", "shared-heads", "disjoint-heads"),
    Contrast("feed-forward units", "shared-units", "disjoint-units"),
)


@dataclass(frozen=True, kw_only=True)
class SharingEffect(Effect):
    """What a group says of heads or units: whether the transfer needs those that the tasks share."""

    shown: ClassVar[str] = "needed"
    excluded: ClassVar[str] = "not needed"

    @property
    def out_of_reach(self) -> str:
        """That there is nothing to lose, if so."""
        return "" if mean(self.higher) >= LEAST_EFFECT else "there is under 10 points of transfer to lose"

    @property
    def said(self) -> str:
        """What the verdict says."""
        what, points = self.contrast.what, f"{100 * float(self.size):.1f} points (p {float(self.p):.3f})"
        said = {
            "needed": f"transfer needs {what} that the tasks share: without them it loses {points}",
            "not needed": f"transfer does not need shared {what}: without them it loses under 10 points, {points}",
            "not shown": f"it is not shown that transfer needs shared {what}: without them it loses {points}",
        }
        return said[self.verdict]


@dataclass(frozen=True, kw_only=True)
class Sharing(ContrastExperiment):
    """Train the arm transfer with heads and units that its tasks share or do not. Rerun to resume."""

    contrasts: ClassVar[tuple[Contrast, ...]] = CONTRASTS
    effect: ClassVar[type[Effect]] = SharingEffect
    effects_title: ClassVar[str] = "Lost in the transfer zone when the tasks do not share"
    groups: ClassVar[tuple[str, ...]] = ("capitalize-reverse", "copy-mqar")

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

    def tables(self, found: Found) -> list[Table]:
        """What each condition has learned."""
        from lgbench.scoring.display import percent

        rows = []
        for key, seeds in found.items():
            each = list(seeds.values())
            transfer = [one.transfer for one in each]
            means = [mean(one.in_distribution for one in each), mean(lowest_auxiliary(each)), mean(transfer)]
            shown = map(percent, [*means, min(transfer), max(transfer)])
            rows.append((key.group, key.condition, len(each), *shown))
        columns = ("group", "condition", "seeds", "in-dist.", "auxiliaries", "transfer", "lowest", "highest")
        title = "Accuracy on test examples, in %, mean over seeds; of the auxiliaries the lowest"
        return [Table(title, columns, rows, text=2)]


def _divided(usual: Architecture, condition: str) -> tuple[str, ...]:
    """The changes of a condition: twice the heads or units, of which each task uses half."""
    use = "half" if condition.startswith("shared") else "disjoint"
    if condition.endswith("heads"):
        return f"heads={2 * usual.heads}", f"head_size={usual.size_per_head}", f"task_heads={use}"
    return f"hidden={2 * usual.hidden}", f"task_units={use}"
