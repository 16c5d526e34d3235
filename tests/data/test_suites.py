"""Groups, arms, zones and cells, written out from the definition."""

from fractions import Fraction

import pytest

from lgbench.data.groups import TRAINED_ARMS, ZONES
from lgbench.data.mixtures import Part
from lgbench.data.suites import SUITES, Cell, Suite, load_suite
from lgbench.data.tasks import TASKS
from lgbench.util.errors import LgbenchError, UnknownNameError

# Group: main task, auxiliaries, control.
FIRST_GROUPS = {
    "add-carry": ("reverse_add", ("no_carry", "carry_only"), "copy_first_op"),
    "add-subtract": ("reverse_add", ("reverse_subtract",), "copy_first_op"),
    "add-multiply": ("reverse_add", ("cot_multiply",), "copy_first_op"),
    "copy-mqar": ("string_copy", ("mqar",), "reverse"),
    "capitalize-reverse": ("capitalize_reverse", ("capitalize", "reverse"), "repeat_first"),
    "maze-trace": ("dfs_trace", ("shortest_path",), "node_list"),
    "maze-path": ("shortest_path", ("dfs_trace",), "node_list"),
}
# Of most groups, add-multiply and the mazes: main length, auxiliary length, grid.
MINI_LENGTHS = (
    (8, 16, (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)),
    (4, 8, (2, 4, 6, 8, 10)),
    (8, 16, (4, 8, 12, 16, 20, 24)),
)
STANDARD_LENGTHS = (
    (16, 32, (4, 8, 12, 16, 20, 24, 28, 32, 36, 40)),
    (8, 16, (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)),
    (32, 64, (8, 16, 24, 32, 40, 48, 56, 64)),
)
# Suite: examples a cell, lengths, groups.
DEFINED = {
    "mini-v1": (256, MINI_LENGTHS, FIRST_GROUPS),
    "standard-v1": (1024, STANDARD_LENGTHS, FIRST_GROUPS),
}
every_suite = pytest.mark.parametrize("suite", [load_suite(name) for name in DEFINED], ids=lambda suite: suite.name)


def groups_naming(task: str, suite: Suite) -> list[str]:
    """The groups that have a task, in the order of the definition."""
    _, _, groups = DEFINED[suite.name]
    return [name for name, (main, others, control) in groups.items() if task in (main, *others, control)]


def lengths_of(group: str, suite: Suite) -> tuple[int, int, tuple[int, ...]]:
    _, (usual, multiply, mazes), _ = DEFINED[suite.name]
    return {"add-multiply": multiply, "maze-trace": mazes, "maze-path": mazes}.get(group, usual)


@every_suite
def test_groups_and_lengths_are_those_of_the_definition(suite: Suite) -> None:
    examples, _, groups = DEFINED[suite.name]
    assert suite.examples_per_cell == examples
    assert [group.name for group in suite.groups] == list(groups)
    for group in suite.groups:
        assert (group.main, group.auxiliaries, group.control) == groups[group.name]
        assert (group.main_length, group.aux_length, group.grid) == lengths_of(group.name, suite)


def test_the_suites_are_those_of_the_definition() -> None:
    assert [suite.name for suite in SUITES][: len(DEFINED)] == list(DEFINED)
    assert all(load_suite(name).name == name for name in DEFINED)


def test_every_task_is_in_some_group() -> None:
    assert {task for suite in SUITES for task in suite.tasks} == set(TASKS)


@every_suite
def test_the_tasks_of_a_suite_are_those_of_its_groups(suite: Suite) -> None:
    _, _, groups = DEFINED[suite.name]
    assert suite.tasks == tuple(task for task in TASKS if groups_naming(task.name, suite))
    mains = {main for main, _, _ in groups.values()}
    assert suite.main_tasks == tuple(task.name for task in TASKS if task.name in mains)


def test_arms_of_a_group_with_two_auxiliaries() -> None:
    group = load_suite("standard-v1").group("add-carry")
    third = Fraction(1, 3)
    assert group.mixture("main_only").parts == (Part("reverse_add", 16, Fraction(1)),)
    assert group.mixture("transfer").parts == (
        Part("reverse_add", 16, third),
        Part("no_carry", 32, third),
        Part("carry_only", 32, third),
    )
    assert group.mixture("control").parts == (Part("reverse_add", 16, third), Part("copy_first_op", 32, 2 * third))
    assert group.mixture("direct").parts == (Part("reverse_add", 32, Fraction(1)),)
    assert group.mixture("short_aux").parts == (
        Part("reverse_add", 16, third),
        Part("no_carry", 16, third),
        Part("carry_only", 16, third),
    )


def test_arms_of_a_group_with_one_auxiliary() -> None:
    group = load_suite("mini-v1").group("maze-path")
    half = Fraction(1, 2)
    assert group.mixture("transfer").parts == (Part("shortest_path", 8, half), Part("dfs_trace", 16, half))
    assert group.mixture("control").parts == (Part("shortest_path", 8, half), Part("node_list", 16, half))


@every_suite
def test_in_every_group_the_control_differs_from_the_treatment_in_the_other_tasks_only(suite: Suite) -> None:
    for group in suite.groups:
        transfer, control = group.mixture("transfer").parts, group.mixture("control").parts
        assert transfer[0] == control[0]
        assert {part.max_length for part in transfer[1:]} == {part.max_length for part in control[1:]}
        short = group.mixture("short_aux").parts
        assert short == tuple(part._replace(max_length=group.main_length) for part in transfer)
        assert all(sum(part.share for part in group.mixture(arm).parts) == 1 for arm in TRAINED_ARMS)


def test_main_only_is_one_experiment_for_groups_with_the_same_list() -> None:
    for suite in SUITES:
        arms = {name: suite.group(name).mixture("main_only").parts for name in FIRST_GROUPS}
        assert arms["add-carry"] == arms["add-subtract"]
        assert len(set(arms.values())) == 6


def test_an_unknown_arm_is_refused() -> None:
    for name in ("open", "tranfer"):
        with pytest.raises(
            UnknownNameError, match=r"is not a trained arm.*Valid: main_only, transfer, control, direct, short_aux"
        ):
            load_suite("mini-v1").group("add-carry").mixture(name)


@every_suite
def test_zones_are_bounded_by_the_training_lengths(suite: Suite) -> None:
    for group in suite.groups:
        zones = [group.zone(length) for length in (1, group.main_length, group.main_length + 1, group.aux_length)]
        assert zones == ["in_distribution", "in_distribution", "transfer", "transfer"]
        assert group.zone(group.aux_length + 1) == "beyond"
        assert sum((group.zone_lengths(zone) for zone in ZONES), ()) == group.grid


def test_zone_lengths() -> None:
    standard, mini = load_suite("standard-v1"), load_suite("mini-v1")
    assert [standard.group("copy-mqar").zone_lengths(zone) for zone in ZONES] == [
        (4, 8, 12, 16),
        (20, 24, 28, 32),
        (36, 40),
    ]
    assert standard.group("maze-path").zone_lengths("beyond") == ()
    assert mini.group("maze-path").zone_lengths("beyond") == (20, 24)
    assert mini.group("add-multiply").zone_lengths("transfer") == (6, 8)


@every_suite
def test_open_zones_come_from_the_first_group_that_names_the_task(suite: Suite) -> None:
    for task in suite.tasks:
        assert suite.home_group(task.name).name == groups_naming(task.name, suite)[0]
    homes = {"copy_first_op": "add-carry", "reverse": "copy-mqar", "shortest_path": "maze-trace"}
    assert {task: suite.home_group(task).name for task in homes} == homes
    assert suite.zone_group("shortest_path").name == "maze-trace"
    assert suite.zone_group("shortest_path", "maze-path").name == "maze-path"


@every_suite
def test_open_evaluates_every_task_on_the_union_of_its_groups_grids(suite: Suite) -> None:
    grids: dict[str, list[int]] = {}
    for task in suite.tasks:
        of_groups = [lengths_of(name, suite)[2] for name in groups_naming(task.name, suite)]
        grids[task.name] = sorted({length for grid in of_groups for length in grid})
    cells = [Cell(task, length) for task in grids for length in grids[task]]
    assert list(suite.cells()) == list(suite.cells("open")) == cells
    assert {task: list(suite.grid(task)) for task in grids} == grids


def test_the_number_of_cells() -> None:
    assert len(load_suite("mini-v1").cells()) == 11 * 10 + 5 + 3 * 6
    assert len(load_suite("standard-v1").cells()) == 9 * 10 + 2 * 15 + 10 + 3 * 8


@every_suite
def test_a_trained_arm_is_evaluated_on_its_own_tasks_over_its_groups_grid(suite: Suite) -> None:
    _, _, groups = DEFINED[suite.name]
    for name, (main, auxiliaries, control) in groups.items():
        of_arm = {
            "main_only": {main},
            "transfer": {main, *auxiliaries},
            "control": {main, control},
            "direct": {main},
            "short_aux": {main, *auxiliaries},
        }
        for arm, tasks in of_arm.items():
            cells = suite.cells(arm, [name])
            assert set(suite.group(name).evaluated_tasks(arm)) == tasks
            assert list(cells) == [
                Cell(task.name, length) for task in TASKS if task.name in tasks for length in suite.group(name).grid
            ]


def test_open_can_be_narrowed_to_groups() -> None:
    suite = load_suite("mini-v1")
    multiply = suite.cells("open", ["add-multiply"])
    assert multiply == tuple(
        Cell(task, length) for task in ("reverse_add", "copy_first_op", "cot_multiply") for length in (2, 4, 6, 8, 10)
    )
    assert set(suite.cells("open", ["add-multiply", "add-carry"])) > set(multiply)
    assert suite.cells("open", list(FIRST_GROUPS)) == suite.cells()


@pytest.mark.parametrize("arm", TRAINED_ARMS)
@pytest.mark.parametrize("groups", [[], ["add-carry", "add-subtract"]])
def test_a_trained_arm_needs_exactly_one_group(arm: str, groups: list[str]) -> None:
    with pytest.raises(LgbenchError, match=f"'{arm}' was trained on one group.*Valid: add-carry, "):
        load_suite("mini-v1").cells(arm, groups)


def test_unknown_names_are_refused() -> None:
    suite = load_suite("mini-v1")
    with pytest.raises(UnknownNameError, match="Did you mean 'add-carry'"):
        suite.cells("transfer", ["add-cary"])
    with pytest.raises(UnknownNameError, match=f"Valid: {', '.join((*TRAINED_ARMS, 'open'))}"):
        suite.cells("closed")
    with pytest.raises(UnknownNameError, match=r"'mini' is not a suite.*Valid: mini-v1, "):
        load_suite("mini")


def test_a_task_without_a_group_has_no_zones() -> None:
    with pytest.raises(UnknownNameError, match=r"'revers' is not a task.* Did you mean 'reverse'"):
        load_suite("mini-v1").home_group("revers")
