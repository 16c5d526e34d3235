"""Replies made elsewhere: MODEL `replay:replies.jsonl`."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from lgbench.data.suites import Suite
from lgbench.results.reply import Reply, parse_reply_line
from lgbench.results.schema import MAX_REPLY_CHARS
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

# The largest suite asks for 160,000 replies, of 4,096 characters at most.
_MAX_BYTES = 2_000_000_000
_MAX_LINE = 1_000_000  # bytes
_MAX_ID = 100  # characters


class RecordedReplies:
    """Replies looked up by example id.

    Args:
        path: A file of JSON lines with at least `id` and `reply`. `cut`, `capped` and `refused` are handed on. Other
            keys are ignored, so that the lines of `lgbench data export` can be written back with their replies.

    Raises:
        LgbenchError: The file is not a regular file, too large or unreadable, a line is not such an object, or an id is
            repeated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._replies: dict[str, Reply] = {}
        try:
            for number, line in enumerate(self._lines(), start=1):
                if line.strip():
                    self._add(number, line)
        except OSError as error:
            raise LgbenchError(f"Cannot read the replies file {str(path)!r}: {error.strerror or error}.") from None

    def _lines(self) -> Iterator[bytes]:
        """The lines of the file. Of one that is too long, no more is read than shows that it is."""
        status = self._path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe can be read once, and lgbench also hashes it; a device has no end
            raise LgbenchError(
                f"The replies file {str(self._path)!r} is not a regular file. Save the replies to a file and name it."
            )
        if status.st_size > _MAX_BYTES:
            raise LgbenchError(
                f"The replies file {str(self._path)!r} has {status.st_size:,} bytes; at most {_MAX_BYTES:,} are read. "
                "It needs one line for each example, with its id and reply."
            )
        with self._path.open("rb") as file:
            while line := file.readline(_MAX_LINE + 1):
                yield line

    def _add(self, number: int, line: bytes) -> None:
        where = f"Line {number} of {str(self._path)!r}"
        if len(line) > _MAX_LINE:
            raise LgbenchError(f"{where} is not a reply: it has more than {_MAX_LINE:,} bytes.")
        try:
            example_id, reply, _ = parse_reply_line(line, strict=False)
        except ValueError as error:
            raise LgbenchError(f"{where} is not a reply: {error}.") from None
        if len(example_id) > _MAX_ID:
            raise LgbenchError(f"{where} is not a reply: its id has {len(example_id):,} characters.")
        if example_id in self._replies:
            raise LgbenchError(f"{where} repeats the id {plain(repr(example_id))}.")
        # One character too many tells the evaluation that the reply was longer.
        self._replies[example_id] = reply._replace(text=reply.text[: MAX_REPLY_CHARS + 1])

    def check_ids(self, suite: Suite) -> None:
        """Refuse replies to examples that the suite does not have: the file was made for something else.

        Raises:
            LgbenchError: There is such a reply.
        """
        cells = {f"{cell.task}-{cell.length}" for cell in suite.cells()}
        indices = {str(index) for index in range(suite.examples_per_cell)}  # not `int`, which also reads 007 and ٣
        for example_id in self._replies:
            cell, _, index = example_id.rpartition("-")
            if cell not in cells or index not in indices:
                raise LgbenchError(
                    f"{str(self._path)!r} replies to {plain(repr(example_id))}, which is not an example of "
                    f"{suite.name}."
                )

    def lookup(self, ids: Sequence[str]) -> list[Reply]:
        """The reply to each example.

        Raises:
            LgbenchError: There is none for some example.
        """
        missing = [example_id for example_id in ids if example_id not in self._replies]
        if missing:
            raise LgbenchError(
                f"{str(self._path)!r} has no reply for {missing[0]!r}"
                f"{f' and {len(missing) - 1} more of its cell' if len(missing) > 1 else ''}. "
                "Reply to every line of `lgbench data export` with the same --suite, --group, --arm and --task."
            )
        return [self._replies[example_id] for example_id in ids]
