"""What makes two evaluations the same run."""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict

from lgbench.evaluation.planning import Plan
from lgbench.results.schema import Result, SystemInfo


class RunKey(BaseModel):
    """What makes two evaluations the same run, so that one may go on where the other stopped."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    suite: str
    arm: str
    group: str | None
    seed: int | None
    limit: int | None
    model: str
    options: dict[str, str]
    cells: tuple[str, ...]

    @classmethod
    def of(cls, plan: Plan, system: SystemInfo) -> RunKey:
        """The run of a plan by a model."""
        return cls(
            suite=plan.suite.name,
            arm=plan.arm,
            group=plan.group,
            seed=plan.seed,
            limit=plan.limit,
            model=system.model,
            options=system.options,
            cells=plan.cell_digests,
        )

    @classmethod
    def of_result(cls, result: Result) -> RunKey:
        """The run that a result came from."""
        return cls(
            suite=result.suite,
            arm=result.arm,
            group=result.group,
            seed=result.seed,
            limit=result.limit,
            model=result.system.model,
            options=result.system.options,
            cells=tuple(cell.sha256 for cell in result.cells),
        )

    def difference(self, other: RunKey, *, may_change: Collection[str] = ()) -> str:
        """What differs in another run, in words, but for some options; empty where nothing does."""
        here, there = self.model_dump(), other.model_dump()
        for each in (here, there):
            each["options"] = {name: value for name, value in each["options"].items() if name not in may_change}
        if here["cells"] != there["cells"]:
            here["cells"], there["cells"] = f"{len(self.cells)} chosen", f"{len(other.cells)} chosen or of other hashes"
        return ", ".join(f"{key}: {there[key]!r}, now {here[key]!r}" for key in here if here[key] != there[key])
