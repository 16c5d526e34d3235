"""Fetching replies that submitted runs name by address and hash into the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lgbench.evaluation.offsite import (
    MAX_OFFSITE_BYTES,
    OFFSITE_FILE,
    OffsiteReplies,
    is_stored,
    stored_at,
)
from lgbench.submissions.checked import FileProblem
from lgbench.util.counting import CountReport, no_report
from lgbench.util.download import Remote, fetch_file
from lgbench.util.errors import LgbenchError
from lgbench.util.files import write_errors
from lgbench.util.records import InvalidFileError, Problem, read_record

_SECONDS = 120.0
"""For one file of at most 8 MB."""


def fetch_replies(paths: Sequence[Path], report: CountReport = no_report) -> tuple[FileProblem, ...]:
    """Fetch the replies that the store lacks. Gives those that could not be fetched.

    Args:
        paths: Folders of submissions, of a system or of a run.
        report: Takes how many records were looked at, and of how many.
    """
    records = list(dict.fromkeys(record for path in paths for record in _records(path)))
    problems = []
    for number, record in enumerate(records, start=1):
        try:
            replies = read_record(record, OffsiteReplies, max_bytes=MAX_OFFSITE_BYTES)
        except InvalidFileError:
            continue  # for the check to report
        try:
            if not is_stored(replies):
                _fetch(replies)
        except LgbenchError as error:
            problems.append(FileProblem(record, Problem("url", str(error))))
        report(number, len(records))
    return tuple(problems)


def _records(path: Path) -> Iterator[Path]:
    """The records in a folder of submissions, of a system or of a run. No link is followed."""
    for depth in ("", "*/", "*/*/"):
        for record in sorted(path.glob(f"{depth}{OFFSITE_FILE}")):
            inside = [record, *(each for each in record.parents if each.is_relative_to(path))]
            if not any(each.is_symlink() for each in inside):
                yield record


def _fetch(replies: OffsiteReplies) -> None:
    target = stored_at(replies.sha256)
    with write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
            fetched = Path(temporary) / "replies"
            remote = Remote(replies.url, replies.sha256, "replies")
            fetch_file(remote, fetched, most_bytes=replies.bytes, seconds=_SECONDS)
            fetched.replace(target)
