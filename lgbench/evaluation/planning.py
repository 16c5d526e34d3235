"""Which cells an evaluation runs, from what the user asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from lgbench.data.cells import recorded_digest
from lgbench.data.drafts import open_suite
from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.results.schema import Draft
from lgbench.util.errors import LgbenchError, UnknownNameError


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to evaluate.

    Attributes:
        suite: The suite.
        arm: How the model was trained.
        group: The group of a trained arm; None for `open`.
        seed: The model's training seed, where it has one.
        limit: The examples evaluated of each cell; None for all.
        cells: By task order, then length.
    """

    suite: Suite
    arm: str
    group: str | None
    seed: int | None
    limit: int | None
    cells: tuple[Cell, ...]

    @property
    def draft(self) -> Draft | None:
        """Where the suite comes from, if it is a draft, as the result records it."""
        return Draft.of(self.suite.draft)

    @property
    def examples_per_cell(self) -> int:
        """How many examples of each cell are evaluated."""
        return self.suite.examples_per_cell if self.limit is None else self.limit

    @cached_property  # asked for once for each cell
    def cell_digests(self) -> tuple[str, ...]:
        """The hash of each cell, as the result records it."""
        return tuple(recorded_digest(self.suite, cell) for cell in self.cells)


def make_plan(
    suite: str | Suite,
    *,
    arm: str = OPEN_ARM,
    groups: Sequence[str] = (),
    tasks: Sequence[str] = (),
    lengths: Sequence[int] = (),
    seed: int | None = None,
    limit: int | None = None,
) -> Plan:
    """Check what was asked for and choose the cells. Empty `groups`, `tasks` and `lengths` choose everything.

    A limit of a whole cell or more is no limit.

    Raises:
        UnknownNameError: No such suite, arm, group or task.
        LgbenchError: A combination without cells, a trained arm without exactly one group, or a number out of range.
    """
    suite = load_suite(suite) if isinstance(suite, str) else open_suite(suite)
    if limit is not None and limit < 1:
        raise LgbenchError(f"A limit of {limit} examples a cell evaluates nothing. Give 1 or more.")
    if seed is not None and not 0 <= seed < 2**63:
        raise LgbenchError(f"Seed {seed} is out of range. Valid: 0 to 2**63 - 1.")
    cells = suite.cells(arm, groups)
    cells = _narrow_to_tasks(suite, cells, tasks, where=" and ".join((f"arm {arm!r}", *groups)))
    cells = _narrow_to_lengths(cells, lengths)
    return Plan(
        suite=suite,
        arm=arm,
        group=None if arm == OPEN_ARM else groups[0],
        seed=seed,
        limit=None if limit is None or limit >= suite.examples_per_cell else limit,
        cells=cells,
    )


def _narrow_to_tasks(suite: Suite, cells: tuple[Cell, ...], tasks: Sequence[str], *, where: str) -> tuple[Cell, ...]:
    names = [task.name for task in suite.tasks]
    valid = dict.fromkeys(cell.task for cell in cells)
    for task in tasks:
        if task not in names:
            raise UnknownNameError("task", task, names)
        if task not in valid:
            raise LgbenchError(f"Task {task!r} is not evaluated under {where}. Valid: {', '.join(valid)}.")
    return tuple(cell for cell in cells if cell.task in tasks) if tasks else cells


def _narrow_to_lengths(cells: tuple[Cell, ...], lengths: Sequence[int]) -> tuple[Cell, ...]:
    valid = sorted({cell.length for cell in cells})
    for length in lengths:
        if length not in valid:
            raise LgbenchError(f"No chosen task has a cell at length {length}. Valid: {', '.join(map(str, valid))}.")
    return tuple(cell for cell in cells if cell.length in lengths) if lengths else cells
