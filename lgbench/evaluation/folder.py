"""The folder of one evaluation, from its first reply to its result.

While a run goes on, the folder holds `run.json` (which run it is) and `replies.partial.jsonl` (every reply as it
arrived). When it is done it holds `result.json` and `replies.jsonl.gz` instead.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from pydantic import BaseModel, ConfigDict

from lgbench.data.task import Example
from lgbench.evaluation.asking import Answers, Spent
from lgbench.evaluation.key import RunKey
from lgbench.evaluation.partial import Line, cost_fields, drop_torn_line, read_lines
from lgbench.evaluation.stored import StoredReplies
from lgbench.results.reply import Reply, reply_line
from lgbench.results.schema import Moment, Result, Sha256
from lgbench.util.errors import FolderTakenError, LgbenchError
from lgbench.util.files import TEMPORARY, owned_folder, write_atomically
from lgbench.util.links import open_own
from lgbench.util.records import read_record, write_record

_log = logging.getLogger(__name__)
RESULT_FILE = "result.json"
REPLIES_FILE = "replies.jsonl.gz"
RUN_FILE = "run.json"
PARTIAL_FILE = "replies.partial.jsonl"
_FILES = (RESULT_FILE, REPLIES_FILE, RUN_FILE, PARTIAL_FILE)


class _RunRecord(BaseModel):
    """The content of `run.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    run: RunKey
    started: Moment
    source_sha256: tuple[Sha256, ...]


class RunFolder:
    """An open run: hands out the replies that are already there, and keeps each new one as it arrives.

    Attributes:
        path: The folder.
        started: When the run began, in its first piece.
        source_sha256: The hashes of the model's file in every piece so far, without repetition.
        spent: How long the model has worked, and the tokens it used, over all pieces.
        resumed: How many replies were taken over from earlier pieces.
    """

    def __init__(self, path: Path, record: _RunRecord) -> None:
        self.path = path
        self.started = record.started
        self.source_sha256 = record.source_sha256
        self.spent = Spent()
        self.resumed = 0
        self._partial = open_own(path / PARTIAL_FILE, "ab")
        self._stored_file: BinaryIO = open_own(path / f".{REPLIES_FILE}{TEMPORARY}", "xb")
        self._stored = StoredReplies(self._stored_file)
        self._earlier = read_lines(path / PARTIAL_FILE)
        self._aside: dict[str, list[Line]] = {}  # by cell

    def earlier(self, examples: Sequence[Example]) -> dict[str, Reply]:
        """The replies to these examples of one cell that earlier pieces of the run left. Ask for each cell once.

        The file is read on until all of them are found. A model that works on several cells at once leaves replies to
        others between them: those are set aside for later calls.
        """
        ids = {example.id for example in examples}
        found: dict[str, Reply] = {}
        for line in itertools.chain(self._aside.pop(examples[0].id.rpartition("-")[0], ()), self._earlier):
            if line.example_id in ids:
                found[line.example_id] = line.reply
                self.spent = self.spent.plus(line.spent)
                if len(found) == len(ids):
                    break
            else:
                self._aside.setdefault(line.cell, []).append(line)
        self.resumed += len(found)
        return found

    def append(self, answers: Answers) -> None:
        """Keep some replies. What they took stands on the first line."""
        lines = [
            reply_line(example.id, reply, **(cost_fields(answers.spent) if position == 0 else {}))
            for position, (example, reply) in enumerate(answers.replies)
        ]
        self._partial.write(b"".join(lines))
        self._partial.flush()
        self.spent = self.spent.plus(answers.spent)

    def store(self, example: Example, reply: Reply, *, right: bool) -> None:
        """Take one scored reply into `replies.jsonl.gz`."""
        self._stored.add(example.id, reply, right=right)

    def finish(self, result: Result) -> None:
        """Leave the folder with the result and the stored replies only."""
        self._stored.close()
        self._stored_file.flush()
        os.fsync(self._stored_file.fileno())  # before the partial file, which holds the same replies, is removed
        self._stored_file.close()
        Path(self._stored_file.name).replace(self.path / REPLIES_FILE)
        write_atomically(self.path / RESULT_FILE, result.to_json().encode())
        self.close()
        (self.path / PARTIAL_FILE).unlink()

    def close(self) -> None:
        """Let go of the files. Without `finish`, the run can be resumed."""
        self._earlier.close()
        self._partial.close()
        self._stored_file.close()
        Path(self._stored_file.name).unlink(missing_ok=True)


@contextlib.contextmanager
def open_run(
    path: Path, key: RunKey, sources: tuple[str, ...], *, resume: bool, may_change: Collection[str] = ()
) -> Iterator[RunFolder | Result]:
    """Open the folder of a run, or hand back the result of one that is done.

    Args:
        path: The folder.
        key: The run.
        sources: The hashes of the model's file.
        resume: Whether to go on with what the folder holds of this run.
        may_change: Options of the model that may be others than when the run began.

    Raises:
        LgbenchError: The folder holds another run, this one while `resume` is false, or a finished one of another
            version of the model's file; it, or a file of the run, is a link; or it cannot be written to.
    """
    with owned_folder(path, _FILES):
        if (path / RESULT_FILE).exists():
            result = read_record(path / RESULT_FILE, Result)
            difference = key.difference(RunKey.of_result(result), may_change=may_change)
            _check_same(path, difference, resume=resume, state="finished")
            if not set(sources) <= set(result.system.source_sha256):
                raise LgbenchError(
                    f"{str(path)!r} holds this run, finished, but the model's file has changed since. Choose another "
                    "--output to evaluate it as it is now."
                )
            yield result
            return
        run_file = path / RUN_FILE
        if run_file.exists() and _has_replies(path):
            record = read_record(run_file, _RunRecord)
            difference = key.difference(record.run, may_change=may_change)
            _check_same(path, difference, resume=resume, state="unfinished")
            record = _going_on(path, record, sources)
        elif _has_replies(path):
            raise FolderTakenError(
                f"{str(path)!r} holds replies of an unfinished run, and no {RUN_FILE} that says of which. "
                "Choose another --output."
            )
        else:
            record = _RunRecord(run=key, started=datetime.now(UTC).replace(microsecond=0), source_sha256=sources)
        write_record(run_file, record)
        folder = RunFolder(path, record)
        try:
            yield folder
        finally:
            folder.close()
            if not _has_replies(path):  # a finished run, or a model that failed at once: there is nothing to go on with
                (path / PARTIAL_FILE).unlink(missing_ok=True)
                run_file.unlink(missing_ok=True)


def _going_on(path: Path, record: _RunRecord, sources: tuple[str, ...]) -> _RunRecord:
    """The record of an unfinished run, once its last reply is whole and it knows the model's file as it is now."""
    drop_torn_line(path / PARTIAL_FILE)
    record = record.model_copy(update={"source_sha256": _union(record.source_sha256, sources)})
    if len(record.source_sha256) > 1:
        _log.warning("The model's file has changed since this run began: its result cannot be submitted.")
    return record


def _has_replies(path: Path) -> bool:
    partial = path / PARTIAL_FILE
    return partial.exists() and partial.stat().st_size > 0


def _check_same(path: Path, difference: str, *, resume: bool, state: str) -> None:
    if difference:
        raise FolderTakenError(f"{str(path)!r} holds another {state} run ({difference}). Choose another --output.")
    if not resume:
        hint = "Add --resume to show it" if state == "finished" else "Add --resume to continue it"
        raise FolderTakenError(f"{str(path)!r} already holds this run, {state}. {hint}, or choose another --output.")


def _union(known: tuple[str, ...], new: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(known + new))
