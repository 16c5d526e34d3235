"""Audit cells: fresh examples of the same tasks and lengths, unknown when a system was trained."""

from __future__ import annotations

from lgbench.data.cells import draw_prompts, held_out_prompts
from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example, Stream

EXAMPLES = 64
AGAIN = 16


def audit_examples(suite: Suite, cell: Cell, nonce: str, count: int = EXAMPLES) -> list[Example]:
    """Examples of a cell that depend on the suite, the task, the length and the nonce. None has a test prompt.

    Args:
        suite: The suite.
        cell: The task and the length.
        nonce: The key, drawn after the submission.
        count: Number of examples, all distinct.
    """
    task = suite.task(cell.task)
    stream = Stream("lgbench", suite.name, "audit", nonce, task.name, task.version, cell.length)
    held_out = held_out_prompts(suite, cell.task, cell.length)
    prompts = draw_prompts(stream, task, cell.length, count, split="audit", held_out=held_out, distinct=True)
    return [Example(cell.task, cell.length, index, prompt, task.solve(prompt)) for index, prompt in enumerate(prompts)]


def asked_again(suite: Suite, cell: Cell, nonce: str, count: int = AGAIN) -> list[int]:
    """The indices of a cell's test examples that are decoded again, ascending."""
    stream = Stream("lgbench", suite.name, "audit again", nonce, cell.task, cell.length)
    return sorted(stream.permutation(suite.examples_per_cell)[:count].tolist())
