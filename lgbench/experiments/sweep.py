"""The arm `transfer` at other training lengths than the suite's, for its generalization gap (the paper's Figure 10)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lgbench.experiments.base import ArmExperiment, GroupName, Option, Report, Run, SeedList, Seeds
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.experiments.monitor import Monitor
    from lgbench.training.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Sweep(ArmExperiment):
    """Train the arm transfer to every pair of lengths and print the generalization gaps. Rerun to resume.

    The runs cannot be submitted: they train to lengths other than the suite's, and are scored on dev examples.
    """

    group: GroupName
    main_lengths: Annotated[tuple[int, ...], Option("Lengths to train the main task to, as in 2,4,8.", least=1)]
    aux_lengths: Annotated[tuple[int, ...], Option("Lengths to train the auxiliaries to, as in 4,8,16.", least=1)]
    seeds: Seeds = 1
    seed: SeedList = ()

    @property
    def title(self) -> str:
        """The usual folder's name."""
        return f"sweep-{self.opened_suite().name}-{self.group}"

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """A run for each pair of lengths and seed, seed by seed."""
        recipe = self.recipe(device)
        for seed, main, aux in itertools.product(self.seed or range(self.seeds), self.main_lengths, self.aux_lengths):
            plan = recipe.plan(self.group, "transfer", seed)
            name = f"main to {main}, auxiliaries to {aux}, seed {seed}"
            yield Run(_at_lengths(plan, main, aux), root / f"main{main}-aux{aux}-seed{seed}", name=name)

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        """Train it, with the gap at each point."""
        from lgbench.experiments.finish import train_run
        from lgbench.training.points import gap_line

        train_run(run, device=device, monitor=monitor, build=self.build(run), tell=gap_line)

    def report(self, runs: Sequence[Run]) -> Report:
        """The gap of each run; `lgbench plot --kind gap` draws them as a map."""
        import shlex

        from lgbench.training.points import dev_gap, gap_line

        records = [run.record() for run in runs]
        lines = [
            f"{run.name}: {gap_line(run.plan, record.curve[-1])}" for run, record in zip(runs, records, strict=True)
        ]
        root = runs[0].folder.parent
        gaps = [
            {
                "main_length": gap.main_length,
                "aux_length": gap.aux_length,
                "seed": record.plan.seed,
                "gap": float(gap.gap),
                "learned": gap.learned,
            }
            for record in records
            for gap in [dev_gap(record)]
        ]
        return Report([*lines, f"Draw it: lgbench plot {shlex.quote(str(root))} --kind gap -o gap.svg"], gaps)


def _at_lengths(plan: RunSpec, main_length: int, aux_length: int) -> RunSpec:
    from lgbench.training.spec import MOST_LENGTH

    main, *auxiliaries = plan.parts
    parts = [main.model_copy(update={"max_length": main_length})]
    parts += [part.model_copy(update={"max_length": aux_length}) for part in auxiliaries]
    for part in parts:
        plan.loaded_suite.task(part.task).check_length(part.max_length)
        if part.max_length > MOST_LENGTH:
            raise LgbenchError(f"Length {part.max_length} is more than the {MOST_LENGTH} that a run may train on.")
    return plan.model_copy(update={"parts": tuple(parts)})
