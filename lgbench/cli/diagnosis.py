"""What `eval` and `show` print last: what is systematically wrong, and how to see examples of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lgbench.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.diagnosis import Diagnosis
    from lgbench.results import Result

_MOST = 3


def examined(result: Result, folder: Path, shown: Path) -> tuple[Result, str]:
    """A result with every count that its replies give, and a line on what is systematically wrong.

    Args:
        result: The result.
        folder: Where it lies.
        shown: The same folder, as the user names it.

    Returns:
        The line is empty where nothing is; where the replies cannot be used, it says why, and the result is as given.
    """
    from lgbench.diagnosis import examine_result

    try:
        result, diagnoses = examine_result(result, folder)
    except LgbenchError as error:
        return result, f"Its replies were not examined. {error}"
    return result, diagnosis_line(diagnoses, shown)


def diagnosis_line(diagnoses: Sequence[Diagnosis], folder: Path) -> str:
    """The diagnoses in a line, with the command that prints examples; empty without any."""
    if not diagnoses:
        return ""
    first = diagnoses[0]
    told = "; ".join(map(str, diagnoses[:_MOST]))
    return f"Diagnosis: {told}. Examples: lgbench errors {shlex.quote(str(folder))} --task {first.tasks[0]}"
