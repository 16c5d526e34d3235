"""The published tasks, in the order in which results list them."""

from __future__ import annotations

from lgbench.errors import UnknownNameError
from lgbench.task import Task
from lgbench.tasks.arithmetic import ARITHMETIC
from lgbench.tasks.mazes import MAZES
from lgbench.tasks.strings import STRINGS

TASKS: tuple[Task, ...] = (
    *ARITHMETIC,
    *STRINGS,
    *MAZES,
)
_BY_NAME = {task.name: task for task in TASKS}


def get_task(name: str) -> Task:
    """The task of this name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in _BY_NAME:
        raise UnknownNameError("task", name, _BY_NAME)
    return _BY_NAME[name]
