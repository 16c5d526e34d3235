"""The built-in models. They check the plumbing and set a floor; none is submittable."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence

from lgbench.data.suites import Suite
from lgbench.data.task import Stream, Task
from lgbench.data.tasks import get_task
from lgbench.data.tasks.mazes import TOKENS
from lgbench.data.tasks.strings import LETTERS
from lgbench.models.contract import Predictor

_OPERATORS = re.compile(r"[-+*=?]")


class Oracle:
    """Solves every prompt with the task's own `solve`: the upper check of the plumbing."""

    def __init__(self) -> None:
        self._task: Callable[[str], Task] = get_task

    def solve_tasks_of(self, suite: Suite) -> None:
        """Solve the tasks of this suite, its own ones too."""
        self._task = suite.task

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        """The target of each prompt."""
        return [self._task(task).solve(prompt) for prompt in prompts]


class Random:
    """Writes random symbols of the prompt's alphabet. It sees the prompt only, and the same prompt gets the same reply.

    The reply has 1 to n + 1 symbols (digits, letters, node tokens, or those of the prompt where it has others), n being
    those before the first operator.
    """

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        """A random reply to each prompt."""
        return [self._reply(prompt) for prompt in prompts]

    def _reply(self, prompt: str) -> str:
        first = _first_part(prompt)
        nodes = first.count(":")
        alphabet: Sequence[str] = TOKENS if nodes else string.digits if first.isdigit() else LETTERS
        if not nodes and not set(first) <= {*string.digits, *LETTERS}:
            alphabet = sorted(set(first))
        stream = Stream("lgbench", "random", prompt)
        length = 1 + int(stream.below((nodes or len(first)) + 1, 1)[0])
        return "".join(alphabet[pick] for pick in stream.below(len(alphabet), length).tolist())


class Echo:
    """Repeats the prompt up to the first of `+-*=?`."""

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        """The first part of each prompt."""
        return [_first_part(prompt) for prompt in prompts]


def _first_part(prompt: str) -> str:
    return _OPERATORS.split(prompt, maxsplit=1)[0]


BUILTINS: dict[str, type[Predictor]] = {"oracle": Oracle, "random": Random, "echo": Echo}
