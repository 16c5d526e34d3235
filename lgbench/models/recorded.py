"""Replies made elsewhere: MODEL `replay:replies.jsonl`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lgbench.errors import LgbenchError
from lgbench.replies import Reply, parse_reply_line
from lgbench.suites import Suite


class RecordedReplies:
    """Replies looked up by example id.

    Args:
        path: A file of JSON lines with at least `id` and `reply`. `cut`, `capped` and `refused` are handed on. Other
            keys are ignored, so that the lines of `lgbench data export` can be written back with their replies.

    Raises:
        LgbenchError: The file cannot be read, a line is not such an object, or an id is repeated.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._replies: dict[str, Reply] = {}
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, start=1):
                    if line.strip():
                        self._add(number, line)
        except OSError as error:
            raise LgbenchError(f"Cannot read the replies file {str(path)!r}: {error.strerror or error}.") from None

    def _add(self, number: int, line: bytes) -> None:
        try:
            example_id, reply, _ = parse_reply_line(line, strict=False)
        except ValueError as error:
            raise LgbenchError(f"Line {number} of {str(self._path)!r} is no reply: {error}.") from None
        if example_id in self._replies:
            raise LgbenchError(f"Line {number} of {str(self._path)!r} repeats the id {example_id!r}.")
        self._replies[example_id] = reply

    def check_ids(self, suite: Suite) -> None:
        """Refuse replies to examples that the suite does not have: the file was made for something else.

        Raises:
            LgbenchError: There is such a reply.
        """
        known = {f"{cell.task}-{cell.length}" for cell in suite.cells()}
        for example_id in self._replies:
            cell, _, index = example_id.rpartition("-")
            if cell not in known or not (index.isdecimal() and int(index) < suite.examples_per_cell):
                raise LgbenchError(
                    f"{str(self._path)!r} replies to {example_id!r}, which is no example of {suite.name}."
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
