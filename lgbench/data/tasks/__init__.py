"""The published tasks, in the order in which results list them."""

from __future__ import annotations

from lgbench.data.task import Task
from lgbench.data.tasks.arithmetic import ARITHMETIC
from lgbench.data.tasks.mazes import MAZES
from lgbench.data.tasks.strings import STRINGS
from lgbench.util.errors import UnknownNameError

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
