"""A second route to the answer of every published task: the oracles of the first ones, `second_route` of later ones."""

from __future__ import annotations

from lgbench.data.tasks import TASKS, get_task

from . import oracles

REDRAWN = tuple(task for task in TASKS if task.name in oracles.TASKS)
"""The tasks whose prompts are drawn a second time, by `tests.redraw` and `tests.prompts`."""


def answer(task: str, prompt: str) -> str:
    """The target of a prompt."""
    if task in oracles.TASKS:
        return oracles.answer(task, prompt)
    route = get_task(task).second_route
    assert route is not None, f"{task} has no second_route"
    return route(prompt)


def complaints(task: str, prompt: str, *, length: int, split: str) -> list[str]:
    """Why the text is not a prompt of the task, as far as the oracles know it; empty where it is one."""
    return oracles.complaints(task, prompt, length=length, split=split) if task in oracles.TASKS else []
