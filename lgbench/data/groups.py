"""Groups of related tasks, and the arms under which a model is trained on a group.

Definitions: docs/protocol.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Literal, NamedTuple

from lgbench.data.mixtures import Mixture, Part
from lgbench.data.task import Domain, Lengths
from lgbench.util.errors import UnknownNameError

Zone = Literal["in_distribution", "transfer", "beyond"]
ZONES: tuple[Zone, ...] = ("in_distribution", "transfer", "beyond")
OPEN_ARM = "open"


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to train a model on a group.

    Attributes:
        name: In results and on the command line.
        mixture: What it trains on in a group. Derived from the group, so that a control cannot drift from its
            treatment.
        summary: What it trains on, in words.
        baseline: The arm that its gain is against; None for an arm that is a baseline itself.
    """

    name: str
    mixture: Callable[[Group], Mixture]
    summary: str
    baseline: str | None = "main_only"


def _main_only(group: Group) -> Mixture:
    return Mixture((Part(group.main, group.main_length, Fraction(1)),))


def _with_auxiliaries(group: Group, length: int) -> Mixture:
    share = Fraction(1, 1 + len(group.auxiliaries))
    auxiliaries = (Part(task, length, share) for task in group.auxiliaries)
    return Mixture((Part(group.main, group.main_length, share), *auxiliaries))


def _transfer(group: Group) -> Mixture:
    return _with_auxiliaries(group, group.aux_length)


def _control(group: Group) -> Mixture:
    share = Fraction(1, 1 + len(group.auxiliaries))
    return Mixture((Part(group.main, group.main_length, share), Part(group.control, group.aux_length, 1 - share)))


def _direct(group: Group) -> Mixture:
    return Mixture((Part(group.main, group.aux_length, Fraction(1)),))


def _short_aux(group: Group) -> Mixture:
    return _with_auxiliaries(group, group.main_length)


ARMS = (
    Arm(name="main_only", mixture=_main_only, summary="the main task alone", baseline=None),
    Arm(name="transfer", mixture=_transfer, summary="the main task and the auxiliaries, in equal shares"),
    Arm(
        name="control",
        mixture=_control,
        summary="the main task with its share in transfer, the control with the rest",
    ),
    Arm(name="direct", mixture=_direct, summary="the main task up to the auxiliaries' length"),
    Arm(name="short_aux", mixture=_short_aux, summary="as transfer, but the auxiliaries up to the main task's length"),
)
"""The published arms, in the order in which results list them."""

TRAINED_ARMS = tuple(arm.name for arm in ARMS)


@dataclass(frozen=True, kw_only=True)
class Group:
    """A main task, the auxiliaries related to it, a control, and the lengths they are trained to and evaluated at.

    Attributes:
        name: In results and on the command line.
        main: The name of the main task.
        auxiliaries: Those of the related tasks, at least one.
        control: That of a task whose inputs are as long and that calls for no related algorithm.
        main_length: The greatest training length of the main task.
        aux_length: That of the auxiliaries and the control.
        grid: The evaluated lengths, ascending.
        arms: How it can be trained.
    """

    name: str
    main: str
    auxiliaries: tuple[str, ...]
    control: str
    main_length: int
    aux_length: int
    grid: tuple[int, ...]
    arms: tuple[Arm, ...] = field(default=ARMS, hash=False)  # equal groups have equal hashes without them, sooner

    @classmethod
    def in_domain(cls, domain: Domain, *, name: str, main: str, auxiliaries: tuple[str, ...], control: str) -> Group:
        """A group with the usual lengths of a domain."""
        lengths = domain.lengths
        return cls(
            name=name,
            main=main,
            auxiliaries=auxiliaries,
            control=control,
            main_length=lengths.main,
            aux_length=lengths.aux,
            grid=lengths.grid,
        )

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

    def has_arm(self, name: str) -> bool:
        """Whether the group can be trained under this arm."""
        return any(arm.name == name for arm in self.arms)

    def arm(self, name: str) -> Arm:
        """The arm of this name.

        Raises:
            UnknownNameError: The group has none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UnknownNameError("trained arm", name, (arm.name for arm in self.arms))

    def mixture(self, arm: str) -> Mixture:
        """What an arm trains on.

        Raises:
            UnknownNameError: `arm` is no trained arm of the group.
        """
        if arm not in self._mixtures:  # asked for many times of every run that is scored
            self._mixtures[arm] = self.arm(arm).mixture(self)
        return self._mixtures[arm]

    @cached_property
    def _mixtures(self) -> dict[str, Mixture]:
        return {}

    def evaluated_tasks(self, arm: str) -> tuple[str, ...]:
        """The tasks on which a model trained under `arm` is evaluated: those it was trained on, the main task first."""
        return tuple(dict.fromkeys((self.main, *self.mixture(arm).tasks)))


class Sizes(NamedTuple):
    """The lengths of a suite's groups: of most, of `add-multiply`, and of the mazes."""

    usual: Lengths
    multiply: Lengths
    mazes: Lengths


class Relation(NamedTuple):
    """A group but for its lengths, and which of the suite's it has."""

    name: str
    main: str
    auxiliaries: tuple[str, ...]
    control: str
    lengths: Literal["usual", "multiply", "mazes"] = "usual"


# The groups of the first two suites, whose results are published: another group belongs to a suite of a new version.
FIRST_GROUPS = (
    Relation("add-carry", "reverse_add", ("no_carry", "carry_only"), "copy_first_op"),
    Relation("add-subtract", "reverse_add", ("reverse_subtract",), "copy_first_op"),
    Relation("add-multiply", "reverse_add", ("cot_multiply",), "copy_first_op", "multiply"),
    Relation("copy-mqar", "string_copy", ("mqar",), "reverse"),
    Relation("capitalize-reverse", "capitalize_reverse", ("capitalize", "reverse"), "repeat_first"),
    Relation("maze-trace", "dfs_trace", ("shortest_path",), "node_list", "mazes"),
    Relation("maze-path", "shortest_path", ("dfs_trace",), "node_list", "mazes"),
)
MINI = Sizes(
    usual=Lengths(8, 16, tuple(range(2, 21, 2))),
    multiply=Lengths(4, 8, tuple(range(2, 11, 2))),
    mazes=Lengths(8, 16, tuple(range(4, 25, 4))),
)
STANDARD = Sizes(
    usual=Lengths(16, 32, tuple(range(4, 41, 4))),
    multiply=Lengths(8, 16, tuple(range(2, 21, 2))),
    mazes=Lengths(32, 64, tuple(range(8, 65, 8))),
)


def groups_of(relations: tuple[Relation, ...], sizes: Sizes) -> tuple[Group, ...]:
    """The groups of a suite, from how their tasks are related and the lengths of the suite."""
    return tuple(_group(relation, getattr(sizes, relation.lengths)) for relation in relations)


def _group(relation: Relation, lengths: Lengths) -> Group:
    return Group(
        name=relation.name,
        main=relation.main,
        auxiliaries=relation.auxiliaries,
        control=relation.control,
        main_length=lengths.main,
        aux_length=lengths.aux,
        grid=lengths.grid,
    )
