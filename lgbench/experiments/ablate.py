"""The arm `transfer` with some of its auxiliaries left out: which of them helps the main task?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lgbench.experiments.base import ArmExperiment, GroupName, Report, Run, SeedList, Seeds
from lgbench.util.errors import LgbenchError
from lgbench.util.tables import Table

if TYPE_CHECKING:
    from lgbench.data.groups import Zone
    from lgbench.training.record import TrainingRecord
    from lgbench.training.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class Ablate(ArmExperiment):
    """Train the arm transfer with each choice of its auxiliaries, to see which of them help. Rerun to resume.

    The runs cannot be submitted: they are scored on dev examples, and only those with every auxiliary belong to an arm.
    """

    group: GroupName
    seeds: Seeds = 3
    seed: SeedList = ()

    @property
    def title(self) -> str:
        """The usual folder's name."""
        return f"ablate-{self.opened_suite().name}-{self.group}"

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        """A run for each choice of at least one auxiliary and each seed, seed by seed: single ones first, all last.

        As in the arm, the main task and the chosen auxiliaries have equal shares of the examples.
        """
        recipe = self.recipe(device)
        auxiliaries = recipe.suite.group(self.group).auxiliaries
        if len(auxiliaries) < 2:
            able = ", ".join(each.name for each in recipe.suite.groups if len(each.auxiliaries) > 1) or "none"
            raise LgbenchError(
                f"{self.group} has one auxiliary, {auxiliaries[0]}: none can be left out. Groups with more: {able}."
            )
        choices = [choice for count in range(1, len(auxiliaries) + 1) for choice in combinations(auxiliaries, count)]
        for seed in self.seed or range(self.seeds):
            plan = recipe.plan(self.group, "transfer", seed)
            for choice in choices:
                folder = root / f"{'+'.join(choice)}-seed{seed}"
                yield Run(_with_auxiliaries(plan, choice), folder, name=f"{' and '.join(choice)}, seed {seed}")

    def report(self, runs: Sequence[Run]) -> Report:
        """The main task's zones, a row for each choice of auxiliaries."""
        from lgbench.data.groups import ZONES
        from lgbench.scoring.display import percent

        choices = by_choice(run.record() for run in runs)
        columns = ("auxiliaries", "seeds", "in-dist.", "transfer", "beyond", "lowest", "highest", "learned")
        rows = []
        for auxiliaries, seeds in choices.items():
            transfer = [share for seed in seeds if (share := seed.zones["transfer"]) is not None]
            shares = [_mean(seed.zones[zone] for seed in seeds) for zone in ZONES]
            shares += [min(transfer, default=None), max(transfer, default=None)]
            shares.append(_mean(seed.auxiliaries for seed in seeds))
            rows.append((", ".join(auxiliaries), str(len(seeds)), *map(percent, shares)))
        main = runs[0].plan.suite_group.main
        title = (
            f"{self.group}: {main} on dev examples by zone, in %, mean over seeds; lowest and highest of transfer;\n"
            "learned: the auxiliaries' accuracy up to the length that they were trained to"
        )
        record = [
            {
                "auxiliaries": auxiliaries,
                "seeds": [
                    {
                        "zones": {zone: None if share is None else float(share) for zone, share in seed.zones.items()},
                        "auxiliaries": float(seed.auxiliaries),
                    }
                    for seed in seeds
                ],
            }
            for auxiliaries, seeds in choices.items()
        ]
        return Report([Table(title, columns, rows)], record)


def _mean(shares: Iterable[Fraction | None]) -> Fraction | None:
    from lgbench.scoring.measures import mean_of_known

    return mean_of_known(shares)


def _with_auxiliaries(plan: RunSpec, chosen: Sequence[str]) -> RunSpec:
    main, *auxiliaries = plan.parts
    share = Fraction(1, 1 + len(chosen))
    parts = [main, *(part for part in auxiliaries if part.task in chosen)]
    return plan.model_copy(update={"parts": tuple(part.model_copy(update={"share": share}) for part in parts)})


class Ablated(NamedTuple):
    """What a finished run has learned, on dev examples.

    Attributes:
        zones: The main task's accuracy by zone; None where the grid has no length in the zone.
        auxiliaries: The mean accuracy of its auxiliaries up to the length that they were trained to.
    """

    zones: dict[Zone, Fraction | None]
    auxiliaries: Fraction


def by_choice(records: Iterable[TrainingRecord]) -> dict[tuple[str, ...], list[Ablated]]:
    """What finished runs have learned, by the auxiliaries that they trained."""
    from lgbench.data.cells import DEV_EXAMPLES
    from lgbench.training.points import zone_accuracies

    choices: dict[tuple[str, ...], list[Ablated]] = {}
    for record in records:
        plan, point = record.plan, record.curve[-1]
        zones = zone_accuracies(plan, point)
        auxiliaries = plan.parts[1:]
        right = [
            count
            for part in auxiliaries
            for length, count in point.correct[part.task].items()
            if length <= part.max_length
        ]
        learned = Fraction(sum(right), DEV_EXAMPLES * len(right))
        choices.setdefault(tuple(part.task for part in auxiliaries), []).append(Ablated(zones, learned))
    return choices
