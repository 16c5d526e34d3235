"""How replies are wrong: how they end, what is systematically wrong, and how to see examples of it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from lgbench.results.schema import WRONG_ENDS, Result
from lgbench.scoring.measures import counts_by_task
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.doctor.diagnosis import Diagnosis

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
    from lgbench.doctor.diagnosis import examine_result

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


def ends_by_length(result: Result) -> Table:
    """A row for each task and way in which a wrong reply ends, if there is such a reply."""
    counts = counts_by_task(result)
    lengths = sorted({length for of_task in counts.values() for length in of_task})
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("wrong replies", no_wrap=True)
    table.add_column("that are", no_wrap=True)
    for length in lengths:
        table.add_column(str(length), justify="right", no_wrap=True)
    for task, of_task in counts.items():
        for name in WRONG_ENDS:
            numbers = {length: getattr(each, name) for length, each in of_task.items()}
            if any(numbers.values()):
                table.add_row(task, name, *(str(numbers[length]) if length in numbers else "" for length in lengths))
    return table


def wrong_ends(result: Result) -> str:
    """How many wrong replies are empty, early and late, in a sentence; empty where none is."""
    counts = [cell.counts for cell in result.cells]
    wrong = sum(each.total - each.correct for each in counts)
    late = sum(each.late for each in counts)
    if any(each.empty is None for each in counts):  # an older result, whose replies are not at hand
        return f"Of {wrong:,} wrong replies {late:,} continue after their target." if late else ""
    empty, early = (sum(getattr(each, name) for each in counts) for name in ("empty", "early"))
    if not empty + early + late:
        return ""
    return f"Of {wrong:,} wrong replies {empty:,} are empty, {early:,} end early and {late:,} late."
