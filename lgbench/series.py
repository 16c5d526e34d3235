"""Layer 4: a series of checkpoints of one model, by pretraining step (Figure 9 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lgbench.errors import LgbenchError
from lgbench.results import Result


def pretraining_step(revision: str) -> int:
    """The step in a revision's name: its last number.

    Raises:
        LgbenchError: It has none.

    Examples:
        >>> pretraining_step("stage1-step-160000")
        160000
    """
    numbers = re.findall(r"\d+", revision)
    if not numbers:
        raise LgbenchError(f"The revision {revision!r} names no step. A series needs names such as step-160000.")
    return int(numbers[-1])


def split_revisions(text: str) -> list[str]:
    """The revisions in `a,b,c`, by step.

    Raises:
        LgbenchError: One is empty, repeated, or names no step.
    """
    revisions = [part.strip() for part in text.split(",")]
    if not all(revisions) or len(set(revisions)) < len(revisions):
        raise LgbenchError(f"revisions={text!r} must be different names with commas between, as step-1000,step-2000.")
    return sorted(revisions, key=pretraining_step)


def by_step(results: Sequence[Result]) -> dict[int, Result]:
    """Results of a series by step, ascending.

    Raises:
        LgbenchError: One was made without a revision, or two are of one step.
    """
    steps: dict[int, Result] = {}
    for result in results:
        revision = result.system.options.get("revision") or result.system.model.rpartition("@")[2]
        step = pretraining_step(revision)
        if step in steps:
            raise LgbenchError(f"Two results are of step {step}. Name the results of one series only.")
        steps[step] = result
    return dict(sorted(steps.items()))
