"""Checking a result against its replies, from regenerated data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lgbench.data.cells import checked_cell, evaluated, recorded_digest
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.data.task import Example
from lgbench.evaluation.folder import REPLIES_FILE, RESULT_FILE
from lgbench.evaluation.grading import CellGrader
from lgbench.evaluation.stored import RepliesDigest, StoredRepliesReader, StoredReply, caps_of
from lgbench.results.reply import Reply
from lgbench.results.schema import LATER_COUNTS, CellCounts, CellResult, Result
from lgbench.util.errors import LgbenchError
from lgbench.util.records import InvalidFileError, Problem, read_record


class Rescored(NamedTuple):
    """A result whose counts follow from its replies.

    Attributes:
        result: The result, with the counts that were not counted yet when it was written.
        correct: For each cell, whether each reply is right, by index; shape (examples evaluated,).
        wrong: For each cell, by index, a hash of the text of each wrong reply, 0 for right ones and for those that are
            right as far as a cap or a server let them go; shape (examples evaluated,).
    """

    result: Result
    correct: dict[Cell, NDArray[np.bool_]]
    wrong: dict[Cell, NDArray[np.uint64]]


def rescore(folder: str | Path) -> Rescored:
    """Recompute every count of a result from its replies and from regenerated data.

    Raises:
        InvalidFileError: A file is missing or malformed, or something differs; with every difference and its cell.
    """
    folder = Path(folder)
    result = read_record(folder / RESULT_FILE, Result)
    return _rescored(result, StoredRepliesReader(folder / REPLIES_FILE, caps_of(folder)), folder)


def rescore_result(result: Result, folder: Path) -> tuple[Rescored, dict[str, Reply]]:
    """Recompute every count of a result that was read from this folder, and give back its stored replies too.

    Raises:
        InvalidFileError: The replies are missing or malformed, or something differs.
    """
    kept: dict[str, Reply] = {}

    def keeping() -> Iterator[StoredReply]:
        for stored in StoredRepliesReader(folder / REPLIES_FILE, caps_of(folder)):
            kept[stored.example_id] = stored.reply
            yield stored

    return _rescored(result, keeping(), folder), kept


def _rescored(result: Result, replies: Iterable[StoredReply], folder: Path) -> Rescored:
    rescored, problems = check_result(result, replies)
    if problems:
        raise InvalidFileError(folder / RESULT_FILE, problems)
    return rescored


def check_result(result: Result, replies: Iterable[StoredReply]) -> tuple[Rescored, list[Problem]]:
    """Re-score a result, and list everything that differs from what it says.

    Stored replies are taken one after another, as the example that each is of comes up. The first that no example comes
    up for is reported alone: nothing after it is read, and no count can be right.

    Args:
        result: The result.
        replies: Its stored replies by cell, then index: the wrong ones and the flagged ones.

    Raises:
        InvalidFileError: The replies cannot be read.
    """
    problems = check_cells(result)
    rescored = Rescored(result, {}, {})
    try:
        suite = load_suite(result.suite, result.draft)
    except LgbenchError:
        return rescored, problems
    digest, stored = RepliesDigest(), _InTurn(replies)
    cells, found = list(result.cells), list[Problem]()
    for number, recorded in _in_order(suite, result):
        cell, where = Cell(recorded.task, recorded.length), f"cells[{number}]"
        grader = CellGrader(suite.task(cell.task))
        flags, texts, needless = [], [], []
        for example in evaluated(suite, cell, cell_examples(suite, cell), result.limit):
            given = stored.take(example.id)
            reply = given or Reply(example.target)
            right = grader.add(example, reply)
            digest.add(example.id, reply.text)
            flags.append(right)
            texts.append(0 if right or _is_broken_off(reply, example) else _text_hash(reply.text))
            if right and given is not None and not reply.flags:
                needless.append(example.id)
        rescored.correct[cell] = np.array(flags, dtype=np.bool_)
        rescored.wrong[cell] = np.array(texts, dtype=np.uint64)
        counts = grader.counts()
        cells[number] = _with_later_counts(recorded, counts)
        found += [*_needless(needless, where), *_differences(cell, cells[number], counts, where)]
    if stored.waiting is not None:
        return Rescored(result, {}, {}), [*problems, _unused(suite, result, stored.waiting)]
    if digest.hexdigest() != result.replies_sha256:
        found.append(Problem("replies_sha256", "does not fit the replies: at least one is missing or was changed."))
    return rescored._replace(result=result.model_copy(update={"cells": tuple(cells)})), problems + found


def _with_later_counts(recorded: CellResult, found: CellCounts) -> CellResult:
    """A cell with the counts that its result was written without."""
    missing = {name: getattr(found, name) for name in LATER_COUNTS if getattr(recorded.counts, name) is None}
    if not missing:
        return recorded
    return recorded.model_copy(update={"counts": recorded.counts.model_copy(update=missing)})


class _InTurn:
    """Stored replies, each handed out when its example comes up; `waiting` is the next."""

    def __init__(self, replies: Iterable[StoredReply]) -> None:
        self._rest = iter(replies)
        self.waiting = next(self._rest, None)

    def take(self, example_id: str) -> Reply | None:
        """The reply to an example; None where the next is to another one."""
        if self.waiting is None or self.waiting.example_id != example_id:
            return None
        reply = self.waiting.reply
        self.waiting = next(self._rest, None)
        return reply


def _in_order(suite: Suite, result: Result) -> Iterator[tuple[int, CellResult]]:
    """The cells of a result that the suite has, each with its number in the result, in the suite's order."""
    numbered = {Cell(cell.task, cell.length): (number, cell) for number, cell in enumerate(result.cells)}
    return (numbered[cell] for cell in suite.cells() if cell in numbered)


def _is_broken_off(reply: Reply, example: Example) -> bool:
    """Whether a reply is wrong only because it was stopped, so that two models under the same cap may share it.

    The flag alone does not count: whoever copies a run can set it on every reply.
    """
    return bool(reply.flags) and example.target.startswith(reply.text)


def _text_hash(text: str) -> int:
    """A hash of 64 bits, never 0."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little") or 1


def _needless(ids: Sequence[str], where: str) -> Iterator[Problem]:
    """The right replies of a cell that are in the file, as one problem."""
    if ids:
        more = f" Nor do {len(ids) - 1:,} more." if len(ids) > 1 else ""
        yield Problem(where, f"reply {ids[0]!r} is right, so it does not belong in the file.{more}")


def _unused(suite: Suite, result: Result, stored: StoredReply) -> Problem:
    """Why no example came up for a stored reply."""
    cells = (Cell(cell.task, cell.length) for _, cell in _in_order(suite, result))
    drawn = (evaluated(suite, cell, cell_examples(suite, cell), result.limit) for cell in cells)
    if any(example.id == stored.example_id for examples in drawn for example in examples):
        message = f"the id {stored.example_id!r} is repeated, or out of order. What follows was not read."
        return Problem(f"replies line {stored.line}", message)
    message = f"{stored.example_id!r} is not an example of this result (line {stored.line}). What follows was not read."
    return Problem("replies", message)


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
def cell_examples(suite: Suite, cell: Cell) -> list[Example]:
    """The examples of a test cell, drawn and checked once. Not to be changed."""
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
