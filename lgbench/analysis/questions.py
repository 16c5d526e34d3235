"""The examples that an analysis asks. Tasks that read the same prompts are asked the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from lgbench.analysis.records import DataCell, ModelSource
from lgbench.data.cells import cell_digest, draw_prompts, held_out_prompts
from lgbench.data.suites import Suite
from lgbench.data.task import Example, Stream, Task
from lgbench.util.errors import LgbenchError


class Questions(NamedTuple):
    """Examples of several tasks at a length. Paired tasks have the same prompts in the same order.

    Attributes:
        length: Of all.
        examples: By task.
        paired: The tasks whose prompts are the same, but for a sign where one of them subtracts.
    """

    length: int
    examples: dict[str, list[Example]]
    paired: tuple[str, ...]

    def cells(self) -> list[DataCell]:
        """The cells as a record has them."""
        return [
            DataCell(task=task, length=self.length, examples=len(each), sha256=cell_digest(each))
            for task, each in self.examples.items()
        ]


def draw_questions(suite: Suite, tasks: Sequence[str], length: int, count: int) -> Questions:
    """Examples for an analysis, drawn with a separate key; none has the prompt of a test cell of such a task.

    A task that draws its prompts as the first one does is asked the same prompts; a difference is asked as a sum with
    the sign changed. Any other task has its own prompts.

    Args:
        suite: The suite.
        tasks: The main task first.
        length: The length.
        count: Of examples.

    Raises:
        LgbenchError: A task has no prompts of this length, or too few.
    """
    first = suite.task(tasks[0])
    same = [task for task in tasks if shares_prompts(first, suite.task(task))]
    # The operands of a difference are in order; a sum works with any order.
    source = next((task for task in same if _subtracts(suite.task(task))), tasks[0])
    shared = _prompts(suite, source, length, count)
    examples = {}
    for name in tasks:
        task = suite.task(name)
        prompts = [_signed(task, each) for each in shared] if name in same else _prompts(suite, name, length, count)
        examples[name] = [Example(name, length, at, each, task.solve(each)) for at, each in enumerate(prompts)]
    return Questions(length, examples, tuple(same) if len(same) > 1 else ())


def shares_prompts(first: Task, second: Task) -> bool:
    """Whether two tasks can be asked the same prompts, but for the sign of a sum and a difference."""
    if first.sample is second.sample:
        return True
    sums = [task for task in (first, second) if "+" in task.example and "*" not in task.example]
    return len(sums) == 1 and any(_subtracts(task) for task in (first, second))


def _subtracts(task: Task) -> bool:
    return task.name == "reverse_subtract"


def _signed(task: Task, prompt: str) -> str:
    return prompt.replace("+", "-") if _subtracts(task) else prompt.replace("-", "+")


def _prompts(suite: Suite, name: str, length: int, count: int) -> list[str]:
    task = suite.task(name)
    task.check_length(length)
    alike = [each for each in suite.tasks if each.sample is task.sample]
    held_out = frozenset[str]().union(*(held_out_prompts(suite, each.name, length) for each in alike))
    stream = Stream("lgbench", suite.name, "analysis", name, task.version, length)
    return draw_prompts(stream, task, length, count, split="analysis", held_out=held_out, distinct=True)


def choose_tasks(tasks: Sequence[str], source: ModelSource) -> tuple[str, ...]:
    """The tasks of an analysis: these, or all that the model was trained on if there are none.

    Raises:
        LgbenchError: The model was not trained on one.
    """
    chosen = tuple(tasks) or tuple(source.tasks)
    check_trained(chosen, tuple(source.tasks), model=source.model)
    return chosen


def check_trained(tasks: Sequence[str], trained: Sequence[str], *, model: str) -> None:
    """Refuse tasks that a model was not trained on.

    Raises:
        LgbenchError: There is one.
    """
    for task in tasks:
        if task not in trained:
            raise LgbenchError(
                f"{model!r} was not trained on {task!r}, so that its heads have no part in it. Name some of: "
                f"{', '.join(trained)}."
            )
