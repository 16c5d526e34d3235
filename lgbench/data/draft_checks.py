"""What the definition of a draft suite must be: names, lengths, groups, arms. A sentence for each fault."""

from __future__ import annotations

import re

from lgbench.data.groups import OPEN_ARM, Arm, Group
from lgbench.data.mixtures import Mixture
from lgbench.data.suites import Suite
from lgbench.data.task import Domain, Task
from lgbench.data.tasks import TASKS
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import user_code

_SUITE_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,59}")
_GROUP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
_TASK_NAME = re.compile(r"[a-z][a-z0-9_]{0,49}")  # no hyphen: an example's id is task-length-index
_FORMS = {
    _SUITE_NAME: "lower-case letters, digits, dots, hyphens and underscores",
    _GROUP_NAME: "lower-case letters, digits and hyphens",
    _TASK_NAME: "lower-case letters, digits and underscores, a letter first",
}


def check_definition(suite: Suite) -> None:
    """Refuse a suite whose names, lengths, groups or arms cannot be.

    Raises:
        LgbenchError: Something cannot.
        ModelError: The function of an arm raised.
    """
    _check_name("suite", suite.name, _SUITE_NAME)
    if not isinstance(suite.examples_per_cell, int) or not 1 <= suite.examples_per_cell <= 100_000:
        raise LgbenchError(f"examples_per_cell={suite.examples_per_cell!r} of {suite.name} must be 1 to 100,000.")
    _check_tuple(f"groups of the suite {suite.name!r}", suite.groups)
    _check_tuple(f"own_tasks of the suite {suite.name!r}", suite.own_tasks, least=0)
    published = {task.name for task in TASKS}
    for task in suite.own_tasks:
        _check_task(task)
        if task.name in published:
            raise LgbenchError(f"A task of the name {task.name!r} is published. Give yours another name.")
        published.add(task.name)
    names = [group.name for group in suite.groups]
    if len(set(names)) < len(names):
        raise LgbenchError(f"The suite {suite.name!r} has two groups of one name: {', '.join(names)}.")
    for group in suite.groups:
        _check_group(suite, group)


def _check_name(kind: str, name: object, form: re.Pattern[str]) -> None:
    if not isinstance(name, str) or not form.fullmatch(name):
        raise LgbenchError(f"{name!r} is not a name for a {kind}. Use {_FORMS[form]}.")


def _check_tuple(what: str, value: object, *, least: int = 1) -> None:
    if not isinstance(value, tuple) or len(value) < least:
        at_least = f" with at least {least}" if least else ""
        raise LgbenchError(f"The {what} are {value!r:.80}. Write a tuple{at_least}, as in (first, second).")


def _check_task(task: Task) -> None:
    if not isinstance(task, Task):
        raise LgbenchError(f"own_tasks holds {task!r:.80}, which is no lgbench.Task.")
    _check_name("task", task.name, _TASK_NAME)
    if not isinstance(task.version, int) or task.version < 1:
        raise LgbenchError(f"version={task.version!r} of {task.name} must be a number from 1 on.")
    if not isinstance(task.min_length, int) or task.min_length < 1:
        raise LgbenchError(f"min_length={task.min_length!r} of {task.name} must be a number from 1 on.")
    if not isinstance(task.domain, Domain):
        raise LgbenchError(f"domain={task.domain!r:.80} of {task.name} is no lgbench.data.task.Domain.")
    domain = task.domain
    texts = domain.vocabulary
    if len(set(texts)) < len(texts) or not all(isinstance(text, str) for text in texts):
        raise LgbenchError(f"The domain {domain.name!r} repeats a character or token. Name each text once.")
    for token in domain.tokens:
        if len(token) < 2 or (token[0] == "<" and token[-1] == ">"):
            raise LgbenchError(
                f"{token!r} is not a token for the domain {domain.name!r}: a token has several characters, and not the "
                "form <...>, which tags of tasks have. A single character belongs in the alphabet."
            )


def _check_group(suite: Suite, group: Group) -> None:
    what = f"of the group {group.name!r}"
    _check_name("group", group.name, _GROUP_NAME)
    _check_tuple(f"auxiliaries {what}", group.auxiliaries)
    _check_tuple(f"lengths in the grid {what}", group.grid, least=2)
    _check_tuple(f"arms {what}", group.arms)
    if len(set(group.tasks)) < len(group.tasks):
        raise LgbenchError(f"Main task, auxiliaries and control {what} must differ: {', '.join(group.tasks)}.")
    lengths = (group.main_length, group.aux_length, *group.grid)
    if not all(isinstance(length, int) and 1 <= length <= 10_000 for length in lengths):
        raise LgbenchError(f"The lengths {what} must be numbers from 1 to 10,000, not {lengths!r:.100}.")
    if list(group.grid) != sorted(set(group.grid)):
        raise LgbenchError(f"The grid {what} must ascend: {group.grid}.")
    if group.grid[0] > group.main_length:
        raise LgbenchError(f"The grid {what} must begin at main_length={group.main_length} or below: {group.grid}.")
    if group.main_length >= group.aux_length:
        raise LgbenchError(f"main_length={group.main_length} {what} must be below aux_length={group.aux_length}.")
    for name in group.tasks:
        for length in group.grid:
            suite.task(name).check_length(length)
    names = [arm.name for arm in group.arms]
    if len(set(names)) < len(names):
        raise LgbenchError(f"Two arms {what} have one name: {', '.join(names)}.")
    for arm in group.arms:
        _check_arm(suite, group, arm)


def _check_arm(suite: Suite, group: Group, arm: Arm) -> None:
    _check_name("trained arm", arm.name, _TASK_NAME)
    if arm.name == OPEN_ARM:
        raise LgbenchError(f"{OPEN_ARM!r} is the arm of models that were not trained under one. Choose another name.")
    if arm.baseline is not None and not group.has_arm(arm.baseline):
        raise LgbenchError(f"Arm {arm.name!r} has the baseline {arm.baseline!r}, which is not an arm of {group.name}.")
    with user_code(f"The function of arm {arm.name!r}, given the group {group.name!r},"):
        mixture: object = arm.mixture(group)
    if not isinstance(mixture, Mixture):
        raise LgbenchError(f"The function of arm {arm.name!r} returned {type(mixture).__name__}, not a Mixture.")
    if group.main not in mixture.tasks or not set(mixture.tasks) <= set(group.tasks):
        raise LgbenchError(
            f"Arm {arm.name!r} trains {', '.join(mixture.tasks)} in {group.name}. An arm trains tasks of its group "
            f"({', '.join(group.tasks)}), the main task among them."
        )
    if mixture.parts and mixture.parts[0].task != group.main:
        raise LgbenchError(f"The list of arm {arm.name!r} must begin with the main task of {group.name}, {group.main}.")
    for stage in mixture.schedule:
        for part in stage.parts:
            suite.task(part.task).check_length(part.max_length)
