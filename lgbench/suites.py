"""Layer 2: the groups of related tasks, their training arms, and the two suites as data.

A suite fixes groups, lengths and numbers of examples. Definitions: docs/protocol.md. The groups of the first suites and
the standard lengths are those of Cai et al., arXiv 2506.09251.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Literal, NamedTuple

from lgbench.errors import LgbenchError, UnknownNameError
from lgbench.task import Task
from lgbench.tasks import TASKS

Zone = Literal["in_distribution", "transfer", "beyond"]
ZONES: tuple[Zone, ...] = ("in_distribution", "transfer", "beyond")
TRAINED_ARMS = ("main_only", "transfer", "control", "direct")
OPEN_ARM = "open"
ARMS = (*TRAINED_ARMS, OPEN_ARM)


class Cell(NamedTuple):
    """A unit of evaluation: one task at one length."""

    task: str
    length: int

    def __str__(self) -> str:
        return f"{self.task} at length {self.length}"


class ArmTask(NamedTuple):
    """One task of a training arm: lengths up to `max_length`, and its share of the examples."""

    task: str
    max_length: int
    share: Fraction


Arm = tuple[ArmTask, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """A main task, the auxiliaries related to it, a control, and the lengths they are trained to and evaluated at."""

    name: str
    main: str
    auxiliaries: tuple[str, ...]
    control: str
    main_length: int
    aux_length: int
    grid: tuple[int, ...]

    @property
    def tasks(self) -> tuple[str, ...]:
        """Every task of the group, the main task first."""
        return (self.main, *self.auxiliaries, self.control)

    def zone(self, length: int) -> Zone:
        """The zone of a length: up to `main_length`, up to `aux_length`, or beyond."""
        if length <= self.main_length:
            return "in_distribution"
        return "transfer" if length <= self.aux_length else "beyond"

    def zone_lengths(self, zone: Zone) -> tuple[int, ...]:
        """The evaluated lengths in a zone, ascending; empty where the grid has none."""
        return tuple(length for length in self.grid if self.zone(length) == zone)

    def arm(self, name: str) -> Arm:
        """What an arm trains on. Derived from the group, so that a control cannot drift from its treatment.

        Raises:
            UnknownNameError: `name` is no trained arm.
        """
        share = Fraction(1, 1 + len(self.auxiliaries))
        main = ArmTask(self.main, self.main_length, share)
        if name == "transfer":
            return (main, *(ArmTask(task, self.aux_length, share) for task in self.auxiliaries))
        if name == "control":
            return (main, ArmTask(self.control, self.aux_length, 1 - share))
        if name == "main_only":
            return (main._replace(share=Fraction(1)),)
        if name == "direct":
            return (ArmTask(self.main, self.aux_length, Fraction(1)),)
        raise UnknownNameError("trained arm", name, TRAINED_ARMS)

    def evaluated_tasks(self, arm: str) -> tuple[str, ...]:
        """The tasks on which a model trained under `arm` is evaluated: those it was trained on."""
        return tuple(part.task for part in self.arm(arm))


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A fixed set of groups and test cells. Its name ends in a version, raised whenever a published cell changes."""

    name: str
    groups: tuple[Group, ...]
    examples_per_cell: int

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
        """Every task that some group names, in task order."""
        return tuple(task for task in TASKS if any(task.name in group.tasks for group in self.groups))

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
        if arm not in ARMS:
            raise UnknownNameError("arm", arm, ARMS)
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


class _Lengths(NamedTuple):
    main: int
    aux: int
    grid: range


class _Sizes(NamedTuple):
    """The lengths of a suite's groups: of most, of `add-multiply`, and of the mazes."""

    usual: _Lengths
    multiply: _Lengths
    mazes: _Lengths


class _Relation(NamedTuple):
    name: str
    main: str
    auxiliaries: tuple[str, ...]
    control: str
    lengths: Literal["usual", "multiply", "mazes"]


# The groups of the first two suites, whose results are published: another group belongs to a suite of a new version.
_FIRST_GROUPS = (
    _Relation("add-carry", "reverse_add", ("no_carry", "carry_only"), "copy_first_op", "usual"),
    _Relation("add-subtract", "reverse_add", ("reverse_subtract",), "copy_first_op", "usual"),
    _Relation("add-multiply", "reverse_add", ("cot_multiply",), "copy_first_op", "multiply"),
    _Relation("copy-mqar", "string_copy", ("mqar",), "reverse", "usual"),
    _Relation("capitalize-reverse", "capitalize_reverse", ("capitalize", "reverse"), "repeat_first", "usual"),
    _Relation("maze-trace", "dfs_trace", ("shortest_path",), "node_list", "mazes"),
    _Relation("maze-path", "shortest_path", ("dfs_trace",), "node_list", "mazes"),
)
_MINI = _Sizes(
    usual=_Lengths(8, 16, range(2, 21, 2)),
    multiply=_Lengths(4, 8, range(2, 11, 2)),
    mazes=_Lengths(8, 16, range(4, 25, 4)),
)
_STANDARD = _Sizes(
    usual=_Lengths(16, 32, range(4, 41, 4)),
    multiply=_Lengths(8, 16, range(2, 21, 2)),
    mazes=_Lengths(32, 64, range(8, 65, 8)),
)


def _groups(relations: tuple[_Relation, ...], sizes: _Sizes) -> tuple[Group, ...]:
    return tuple(_group(relation, getattr(sizes, relation.lengths)) for relation in relations)


def _group(relation: _Relation, lengths: _Lengths) -> Group:
    return Group(
        name=relation.name,
        main=relation.main,
        auxiliaries=relation.auxiliaries,
        control=relation.control,
        main_length=lengths.main,
        aux_length=lengths.aux,
        grid=tuple(lengths.grid),
    )


SUITES = (
    Suite(name="mini-v1", groups=_groups(_FIRST_GROUPS, _MINI), examples_per_cell=256),
    Suite(name="standard-v1", groups=_groups(_FIRST_GROUPS, _STANDARD), examples_per_cell=1024),
)
_BY_NAME = {suite.name: suite for suite in SUITES}


def load_suite(name: str) -> Suite:
    """The suite of this name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in _BY_NAME:
        raise UnknownNameError("suite", name, _BY_NAME)
    return _BY_NAME[name]
