"""Layer 3: checking a result against its replies, from regenerated data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lgbench.cells import checked_cell, evaluated, recorded_digest
from lgbench.errors import LgbenchError
from lgbench.records import InvalidFileError, Problem, read_record
from lgbench.replies import Reply
from lgbench.results import CellCounts, CellResult, Result
from lgbench.running.folder import REPLIES_FILE, RESULT_FILE
from lgbench.running.grading import CellGrader
from lgbench.running.replies import RepliesDigest, read_stored_replies
from lgbench.suites import Cell, Suite, load_suite
from lgbench.task import Example


class Rescored(NamedTuple):
    """A result whose counts follow from its replies.

    Attributes:
        result: The result.
        correct: For each cell, whether each reply is right, by index; shape (examples evaluated,).
    """

    result: Result
    correct: dict[Cell, NDArray[np.bool_]]


def rescore(folder: str | Path) -> Rescored:
    """Recompute every count of a result from its replies and from regenerated data.

    Raises:
        InvalidFileError: A file is missing or malformed, or something differs; with every difference and its cell.
    """
    folder = Path(folder)
    result = read_record(folder / RESULT_FILE, Result)
    replies = read_stored_replies(folder / REPLIES_FILE)
    rescored, problems = check_result(result, replies)
    if problems:
        raise InvalidFileError(folder / RESULT_FILE, problems)
    return rescored


def check_result(result: Result, replies: Mapping[str, Reply]) -> tuple[Rescored, list[Problem]]:
    """Re-score a result, and list everything that differs from what it says.

    Args:
        result: The result.
        replies: Its stored replies by example id: the wrong ones and the flagged ones.
    """
    problems = check_cells(result)
    try:
        suite = load_suite(result.suite, result.draft)
    except LgbenchError:
        return Rescored(result, {}), problems
    known = set(suite.cells())
    correct: dict[Cell, NDArray[np.bool_]] = {}
    digest = RepliesDigest()
    unused = set(replies)
    for number, recorded in enumerate(result.cells):
        cell, where = Cell(recorded.task, recorded.length), f"cells[{number}]"
        if cell not in known:
            continue
        grader = CellGrader(suite.task(cell.task))
        flags = []
        for example in evaluated(suite, cell, _examples(suite, cell), result.limit):
            reply = replies.get(example.id, Reply(example.target))
            flags.append(grader.add(example, reply))
            digest.add(example.id, reply.text)
            if example.id in replies:
                unused.remove(example.id)
                if flags[-1] and not reply.flags:
                    problems.append(
                        Problem(where, f"reply {example.id!r} is right, so it does not belong in the file.")
                    )
        correct[cell] = np.array(flags, dtype=np.bool_)
        problems += _differences(cell, recorded, grader.counts(), where)
    if unused:
        are_none = "is no example" if len(unused) == 1 else "are no examples"
        problems.append(Problem("replies", f"{_first(sorted(unused))} {are_none} of this result."))
    if digest.hexdigest() != result.replies_sha256:
        problems.append(Problem("replies_sha256", "does not fit the replies: at least one is missing or was changed."))
    return Rescored(result, correct), problems


def _first(names: Sequence[str], count: int = 5) -> str:
    """The first few of many names, in words."""
    more = f" and {len(names) - count:,} more" if len(names) > count else ""
    return ", ".join(map(repr, names[:count])) + more


def check_cells(result: Result) -> list[Problem]:
    """What is wrong with the suite and the cells that a result names, whatever its replies."""
    try:
        suite = load_suite(result.suite, result.draft)
    except LgbenchError as error:
        return [Problem("suite", str(error))]
    cells = [Cell(cell.task, cell.length) for cell in result.cells]
    problems = []
    known = suite.cells()
    if [cell for cell in cells if cell in known] != [cell for cell in known if cell in cells]:
        problems.append(Problem("cells", "must stand in task order, then by length."))
    for number, (cell, recorded) in enumerate(zip(cells, result.cells, strict=True)):
        where = f"cells[{number}]"
        if cell in known:
            problems += _stale(suite, cell, recorded, where)
        else:
            problems.append(Problem(where, f"{suite.name} has no cell {cell}."))
    return problems


# The runs of a submission share cells; those of both suites together fit, in about 100 MB.
@lru_cache(maxsize=300)
def _examples(suite: Suite, cell: Cell) -> list[Example]:
    return checked_cell(suite, cell)


def _stale(suite: Suite, cell: Cell, recorded: CellResult, where: str) -> list[Problem]:
    problems = []
    version = suite.task(cell.task).version
    if recorded.task_version != version:
        problems.append(
            Problem(f"{where}.task_version", f"{cell} is of version {version}, not {recorded.task_version}.")
        )
    if recorded.sha256 != recorded_digest(suite, cell):
        problems.append(Problem(f"{where}.sha256", f"is not the hash of {cell} in {suite.name}."))
    return problems


def _differences(cell: Cell, recorded: CellResult, found: CellCounts, where: str) -> list[Problem]:
    if recorded.counts == found:
        return []
    said, is_now = recorded.counts.model_dump(mode="json"), found.model_dump(mode="json")
    return [
        Problem(f"{where}.counts.{name}", f"{cell}: the result says {said[name]}, its replies give {is_now[name]}.")
        for name in said
        if said[name] != is_now[name]
    ]
