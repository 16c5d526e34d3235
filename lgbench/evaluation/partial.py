"""The lines of `replies.partial.jsonl`, in which a run keeps every reply as it arrived."""

from __future__ import annotations

import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lgbench.evaluation.asking import Spent
from lgbench.models.contract import Tokens
from lgbench.results.reply import Reply, parse_reply_line
from lgbench.results.schema import MAX_REPLY_CHARS
from lgbench.util.errors import DamagedRunError
from lgbench.util.links import open_own

_MOST = 10**15  # seconds or tokens of one line: more than any run takes


class Line(NamedTuple):
    """A line of `replies.partial.jsonl`."""

    example_id: str
    reply: Reply
    spent: Spent

    @property
    def cell(self) -> str:
        """The cell of the example, as its id names it."""
        return self.example_id.rpartition("-")[0]


def drop_torn_line(partial: Path) -> None:
    """Cut the file after its last complete line: what a killed process had half written is asked again."""
    if not partial.exists():
        return
    content = partial.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open_own(partial, "r+b") as file:
            file.truncate(whole)


def cost_fields(spent: Spent) -> dict[str, float]:
    """What a line says of the cost of its reply, and of those that came with it."""
    counted = {f"{name}_tokens": count for name, count in spent.tokens._asdict().items() if count}
    return {"seconds": round(spent.seconds, 6), **counted}


def _spent(record: Mapping[str, Any]) -> Spent:
    prompt, completion = (int(_number(record, f"{name}_tokens")) for name in Tokens._fields)
    return Spent(_number(record, "seconds"), Tokens(prompt, completion))


def _number(record: Mapping[str, Any], key: str) -> float:
    """A number of a line, 0 where it has none.

    Raises:
        ValueError: It is not a number that could have been measured or counted.
    """
    found = record.get(key, 0)
    # Compared, not converted: an integer may be too large to be a float.
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found <= _MOST:
        raise ValueError(f"{key!r} must be a number from 0 to {_MOST:,}")
    return found


def read_lines(partial: Path) -> Generator[Line, None, None]:
    """The lines that the file holds when the first is read, one by one; those that are appended later are left out.

    Raises:
        DamagedRunError: A line is none that a run could have written.
    """
    with partial.open("rb") as file:
        left = os.fstat(file.fileno()).st_size
        for number, line in enumerate(file, start=1):
            left -= len(line)
            if left < 0:
                return
            try:
                example_id, reply, record = parse_reply_line(line, strict=False)
                if len(reply.text) > MAX_REPLY_CHARS:  # it was cut before it was written
                    raise ValueError(f"the reply is longer than {MAX_REPLY_CHARS} characters")
                read = Line(example_id, reply, _spent(record))
            except ValueError as error:
                raise DamagedRunError(f"Line {number} of {str(partial)!r} is damaged: {error}.") from None
            yield read
