"""Does a higher learning rate help the arm `transfer`? A study of one's own: docs/experiments.md explains it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from lgbench.experiments import ArmExperiment, Option, Report, Run, Table
from lgbench.training.points import zone_accuracies


@dataclass(frozen=True, kw_only=True)
class Rates(ArmExperiment):
    """Train the arm transfer of a group at several learning rates."""

    group: Annotated[str, Option("A group of the suite.")] = "capitalize-reverse"
    rates: Annotated[tuple[float, ...], Option("Learning rates to try.")] = (1e-3, 3e-3)

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """A run for each rate, each in a folder of its own."""
        for rate in self.rates:
            recipe = self.recipe(device, f"learning_rate={rate}")
            yield Run(recipe.plan(self.group, "transfer", 0), root / f"rate{rate}", name=f"rate {rate}")

    def report(self, runs: Sequence[Run]) -> Report:
        """The main task's accuracy on dev examples in the zone of transfer, at the end of each finished run."""
        shares = [zone_accuracies(run.plan, run.record().curve[-1])["transfer"] for run in runs]
        known = [None if share is None else float(share) for share in shares]
        rows = [(run.name, share) for run, share in zip(runs, known, strict=True)]
        return Report([Table(self.group, ("run", "transfer"), rows)], dict(rows))
