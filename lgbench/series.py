"""Layer 4: a series of checkpoints of one model, by pretraining step (Figure 9 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lgbench.errors import LgbenchError
from lgbench.results import Result

_STEP = re.compile(r"(?:step|checkpoint)[-_]?([0-9]+)", re.IGNORECASE)


def pretraining_step(revision: str) -> int:
    """The step in a revision's name: the number after `step` or `checkpoint`, or else its only number.

    Raises:
        LgbenchError: It has none, or several of which none is named so.

    Examples:
        >>> pretraining_step("stage1-step140000-tokens294B")
        140000
    """
    named, numbers = _STEP.findall(revision), re.findall("[0-9]+", revision)
    if named or len(numbers) == 1:
        return int((named or numbers)[0])
    raise LgbenchError(f"The revision {revision!r} names no step. A series needs names such as step-160000.")


def split_revisions(text: str) -> list[str]:
    """The revisions in `a,b,c`, by step.

    Raises:
        LgbenchError: One is empty or names no step, or two name the same.
    """
    revisions = [part.strip() for part in text.split(",")]
    if not all(revisions) or len(set(revisions)) < len(revisions):
        raise LgbenchError(f"revisions={text!r} must be different names with commas between, as step-1000,step-2000.")
    steps = {pretraining_step(revision): revision for revision in revisions}
    if len(steps) < len(revisions):
        raise LgbenchError(f"revisions={text!r} names a step twice: a series has one checkpoint of each.")
    return [steps[step] for step in sorted(steps)]


def by_step(results: Sequence[Result]) -> dict[int, Result]:
    """Results of a series by step, ascending.

    Raises:
        LgbenchError: The step of one is not known, or two are of one step.
    """
    steps: dict[int, Result] = {}
    for result in results:
        step = pretraining_step(_revision(result))
        if step in steps:
            raise LgbenchError(f"Two results are of step {step}. Name the results of one series only.")
        steps[step] = result
    return dict(sorted(steps.items()))


def _revision(result: Result) -> str:
    """The revision that was evaluated, or the folder, if its name says the step."""
    _, at, revision = result.system.model.rpartition("@")
    if given := result.system.options.get("revision") or (revision if at else None):
        return given
    folder = revision.rstrip("/").rpartition("/")[2]
    if not _STEP.search(folder):
        raise LgbenchError(f"The result of {result.system.model!r} names no step, so it has no place in a series.")
    return folder
