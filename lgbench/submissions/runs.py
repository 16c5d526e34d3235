"""Checks one run of a submission: its files, its counts, and whether an evaluation can have written it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from lgbench.evaluation.folder import REPLIES_FILE, RESULT_FILE
from lgbench.evaluation.offsite import OFFSITE_FILE
from lgbench.evaluation.rescoring import Rescored, check_cells, check_result
from lgbench.evaluation.stored import SUBMITTED_CAPS, StoredRepliesReader
from lgbench.results.schema import Result
from lgbench.submissions.checked import SubmittedRun
from lgbench.submissions.copies import Repeats
from lgbench.submissions.declaration import MAX_WEIGHTS_BYTES, WEIGHTS_FILE, WeightsRecord
from lgbench.submissions.eligibility import ineligible
from lgbench.submissions.kept import Found, KeptScores
from lgbench.submissions.likeness import wrong_replies
from lgbench.submissions.plausible import implausible
from lgbench.submissions.problems import Report
from lgbench.submissions.recorded import contradictions, wrong_weights
from lgbench.training.record import RECORD, TrainingRecord
from lgbench.util.records import MAX_RECORD_BYTES, InvalidFileError, Problem, read_record

_Beside = TypeVar("_Beside", bound=BaseModel)


def check_files(folder: Path, report: Report, repeats: Repeats, kept: KeptScores | None = None) -> SubmittedRun | None:
    """Check the result and the replies of a run. A copy of another run is not re-scored.

    Args:
        folder: The run.
        report: Where the problems go.
        repeats: Finds copies among the runs of its system.
        kept: Kept scores of earlier checks.

    Returns:
        The run, for comparison with others, or None if its result cannot be read.
    """
    before = report.count
    replies = StoredRepliesReader(folder / REPLIES_FILE, SUBMITTED_CAPS)
    if (folder / REPLIES_FILE).exists() and (folder / OFFSITE_FILE).exists():
        report.add(folder / OFFSITE_FILE, "", f"says where the replies are, but {REPLIES_FILE} is here: keep one.")
    try:
        result = read_record(folder / RESULT_FILE, Result, max_bytes=MAX_RECORD_BYTES)
    except InvalidFileError as error:
        report.add_error(error)
        _read_through(replies, report)
        return None
    report.add_all(folder / RESULT_FILE, ineligible(result))
    report.add_all(folder / RESULT_FILE, implausible(result))
    if (problem := repeats.problem(folder.name, result)) is not None:
        report.add_all(folder / RESULT_FILE, [problem])
        return SubmittedRun(folder.name, result, is_repeated=True)
    key = kept.key(folder) if kept and report.count == before else None
    training = _beside(folder / RECORD, TrainingRecord, MAX_RECORD_BYTES, report, partial(contradictions, result))
    weights = _beside(folder / WEIGHTS_FILE, WeightsRecord, MAX_WEIGHTS_BYTES, report, partial(wrong_weights, result))
    if kept and key and (found := kept.get(key)) is not None:
        return SubmittedRun(folder.name, found.result, found.wrong, training=training, weights=weights)
    rescored = _rescored(folder, result, replies, report)
    if report.count == before and replies.oddity is not None:  # last, as correcting the lines packs them again
        report.add_all(replies.path, [replies.oddity])
    if kept and key and report.count == before:
        kept.put(key, Found(rescored.result, wrong_replies(result, rescored.wrong)))
    wrong = wrong_replies(result, rescored.wrong) if report.count == before else None
    return SubmittedRun(folder.name, rescored.result, wrong, training=training, weights=weights)


def _beside(
    path: Path, kind: type[_Beside], most: int, report: Report, wrong: Callable[[_Beside], Iterable[Problem]]
) -> _Beside | None:
    """Read an optional record of a run; None if there is none or it has problems."""
    if not (path.exists() or path.is_symlink()):
        return None
    try:
        record = read_record(path, kind, max_bytes=most)
    except InvalidFileError as error:
        report.add_error(error)
        return None
    found = list(wrong(record))
    report.add_all(path, found)
    return None if found else record


def _rescored(folder: Path, result: Result, replies: StoredRepliesReader, report: Report) -> Rescored:
    if result.draft is not None:  # there is nothing to check it against, and it is refused
        _read_through(replies, report)
        return Rescored(result, {}, {})
    try:
        rescored, problems = check_result(result, replies)
    except InvalidFileError as error:
        report.add_error(error)
        rescored, problems = Rescored(result, {}, {}), check_cells(result)
    for field, message in problems:
        kind, _, line = field.partition(" ")
        if kind == "replies":  # they are wrong, not the result
            report.add(replies.path, line, message)
        else:
            report.add(folder / RESULT_FILE, field, message)
    return rescored


def _read_through(replies: StoredRepliesReader, report: Report) -> None:
    """Check the lines of replies without a result."""
    try:
        for _ in replies:
            pass
    except InvalidFileError as error:
        report.add_error(error)
