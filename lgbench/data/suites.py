"""Suites: groups of tasks with their test cells; the two published ones as data, and drafts that users open.

A suite fixes groups, lengths and numbers of examples. Definitions: docs/protocol.md. The groups of the first suites and
the standard lengths are those of Cai et al., arXiv 2506.09251.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

from lgbench.data.groups import FIRST_GROUPS, MINI, OPEN_ARM, STANDARD, Arm, Group, groups_of
from lgbench.data.task import Domain, Task
from lgbench.data.tasks import TASKS
from lgbench.util.errors import DraftNotOpenError, LgbenchError, UnknownNameError


class Cell(NamedTuple):
    """A unit of evaluation: one task at one length."""

    task: str
    length: int

    def __str__(self) -> str:
        return f"{self.task} at length {self.length}"


class DraftSource(NamedTuple):
    """Where a draft suite comes from.

    Attributes:
        reference: As given to `--suite`: `file.py:attribute`, `package.module:attribute` or an entry point; None for a
            `Suite` that a Python program made.
        sha256: Of its file, where it has one.
    """

    reference: str | None
    sha256: str | None


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A fixed set of groups and test cells. Its name ends in a version, raised whenever a published cell changes.

    Attributes:
        name: Part of the key of every example.
        groups: Its groups, of published tasks and of its own.
        examples_per_cell: Of the test split.
        own_tasks: Tasks beside the published ones that its groups may name.
        draft: Where a suite comes from that is not published; None for a published one.
    """

    name: str
    groups: tuple[Group, ...]
    examples_per_cell: int
    own_tasks: tuple[Task, ...] = ()
    draft: DraftSource | None = None

    @property
    def reference(self) -> str:
        """What `--suite` is given for it."""
        return self.name if self.draft is None else self.draft.reference or self.name

    def group(self, name: str) -> Group:
        """The group of this name.

        Raises:
            UnknownNameError: The suite has none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise UnknownNameError("group", name, (group.name for group in self.groups))

    def home_group(self, task: str) -> Group:
        """The first group that names the task. Under the arm `open` it gives the task its zones.

        Raises:
            UnknownNameError: No group does.
        """
        for group in self.groups:
            if task in group.tasks:
                return group
        raise UnknownNameError("task", task, (each.name for each in self.tasks))

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """Every task that some group names, in task order: the published tasks first."""
        named = {task for group in self.groups for task in group.tasks}
        return tuple(task for name, task in self._by_name.items() if name in named)

    @cached_property
    def _by_name(self) -> dict[str, Task]:
        return {task.name: task for task in (*TASKS, *self.own_tasks)}

    def task(self, name: str) -> Task:
        """The task of this name: a published one, or one of the suite's own.

        Raises:
            UnknownNameError: There is none.
        """
        if name not in self._by_name:
            raise UnknownNameError("task", name, self._by_name)
        return self._by_name[name]

    def domain(self, group: Group) -> Domain:
        """What the main task of a group is written in: its training presets fit the group."""
        return self.task(group.main).domain

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        """The arms of its groups, each name once."""
        return tuple({arm.name: arm for group in self.groups for arm in group.arms}.values())

    @cached_property
    def main_tasks(self) -> tuple[str, ...]:
        """The main tasks of the groups without repetition, in task order."""
        return tuple(task.name for task in self.tasks if any(task.name == group.main for group in self.groups))

    def grid(self, task: str) -> tuple[int, ...]:
        """Every length at which the task has a test cell: the union of its groups' grids, ascending."""
        return tuple(sorted({length for group in self.groups if task in group.tasks for length in group.grid}))

    def cells(self, arm: str = OPEN_ARM, groups: Sequence[str] = ()) -> tuple[Cell, ...]:
        """The cells of a complete result, by task order, then length.

        Args:
            arm: How the model was trained. Under `open`, every task at every length.
            groups: Exactly one for a trained arm; under `open` they narrow the cells to their tasks and grids.

        Raises:
            UnknownNameError: No such arm or group.
            LgbenchError: A trained arm without exactly one group.
        """
        key = (arm, tuple(groups))
        if key not in self._listed:
            self._listed[key] = self._list_cells(arm, groups)
        return self._listed[key]

    @cached_property
    def _listed(self) -> dict[tuple[str, tuple[str, ...]], tuple[Cell, ...]]:
        return {}

    def _list_cells(self, arm: str, groups: Sequence[str]) -> tuple[Cell, ...]:
        names = [each.name for each in self.arms] + [OPEN_ARM]
        if arm not in names:
            raise UnknownNameError("arm", arm, names)
        named = [self.group(name) for name in groups]
        if arm == OPEN_ARM:
            pairs = [(task, group.grid) for group in named or self.groups for task in group.tasks]
        elif len(named) == 1:
            pairs = [(task, named[0].grid) for task in named[0].evaluated_tasks(arm)]
        else:
            raise LgbenchError(
                f"A model of arm {arm!r} was trained on one group: name exactly one with --group. "
                f"Valid: {', '.join(group.name for group in self.groups)}."
            )
        wanted = {Cell(task, length) for task, grid in pairs for length in grid}
        return tuple(cell for task in self.tasks for cell in self._task_cells(task.name) if cell in wanted)

    def _task_cells(self, task: str) -> tuple[Cell, ...]:
        return tuple(Cell(task, length) for length in self.grid(task))

    def zone_group(self, task: str, group: str | None = None) -> Group:
        """The group whose lengths give a task its zones: the named one, or under `open` the task's home group."""
        return self.home_group(task) if group is None else self.group(group)


SUITES = (
    Suite(name="mini-v1", groups=groups_of(FIRST_GROUPS, MINI), examples_per_cell=256),
    Suite(name="standard-v1", groups=groups_of(FIRST_GROUPS, STANDARD), examples_per_cell=1024),
)
_BY_NAME = {suite.name: suite for suite in SUITES}


_opened: dict[str, Suite] = {}  # the draft suites of this process, by name


class _FromDraft(Protocol):
    @property
    def reference(self) -> str | None: ...


def load_suite(name: str, draft: _FromDraft | None = None) -> Suite:
    """The suite of this name: a published one, or a draft suite that this process has opened.

    Args:
        name: The name.
        draft: Where a record says that its draft suite comes from. Nothing is run because a record names it.

    Raises:
        UnknownNameError: There is none.
        DraftNotOpenError: The draft suite has not been opened.
    """
    if name in _BY_NAME and draft is None:
        return _BY_NAME[name]
    if name in _opened:
        return _opened[name]
    if draft is None:
        raise UnknownNameError("suite", name, [*_BY_NAME, *_opened])
    if draft.reference is None:
        raise DraftNotOpenError(
            f"This is of the draft suite {name!r}, which a Python program made. Open it there with lgbench.open_suite."
        )
    raise DraftNotOpenError(
        f"This is of the draft suite {name!r} ({draft.reference}). Name it: --suite {shlex.quote(draft.reference)}"
    )


def keep_opened(suite: Suite) -> None:
    """Have `load_suite` find a draft suite from now on in this process. It takes the place of an earlier state of it.

    Raises:
        LgbenchError: Its name is taken by another suite.
    """
    if suite.name in _BY_NAME:
        raise LgbenchError(f"A suite of the name {suite.name!r} is published. Give the draft suite another name.")
    other = _opened.get(suite.name)
    if other is not None and _reference(other) != _reference(suite):
        raise LgbenchError(
            f"A draft suite of the name {suite.name!r} is open already ({_reference(other)}). Give this one another."
        )
    _opened[suite.name] = suite


def _reference(suite: Suite) -> str | None:
    return suite.draft.reference if suite.draft is not None else None


def opened_suites() -> tuple[Suite, ...]:
    """The draft suites of this process. In a process that they are pickled to they are open too."""
    return tuple(_opened.values())


def is_published(suite: Suite) -> bool:
    """Whether a suite is one of the published ones, unchanged."""
    return _BY_NAME.get(suite.name) == suite
