"""A reply, and the JSON line that stands for it in files.

A line is `{"id": ..., "reply": ...}`, and `"cut": true`, `"capped": true` or `"refused": true` where that holds.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from lgbench.results.schema import MAX_REPLY_CHARS
from lgbench.util.records import parse_json


class Reply(NamedTuple):
    """A reply as it is scored, stored and digested.

    Attributes:
        text: At most 4096 characters.
        cut: Whether the model wrote more.
        capped: Whether its generation cap ended it.
        refused: Whether it stands, empty, for one that a server refused to give.
    """

    text: str
    cut: bool = False
    capped: bool = False
    refused: bool = False

    @property
    def flags(self) -> dict[str, bool]:
        """What is so of this reply, by name: what its text does not tell."""
        return {name: True for name in FLAGS if getattr(self, name)}


FLAGS = ("cut", "capped", "refused")
"""What may be so of a reply beside its text, each counted."""
_MAX_LINE = 100_000  # bytes; a stored reply's, all of it escaped, takes half. A line may unpack to far more memory


def reply_line(example_id: str, reply: Reply, **extra: float) -> bytes:
    """The line of one reply, with `extra` keys behind those it always has."""
    record: dict[str, Any] = {"id": example_id, "reply": reply.text}
    return json.dumps(record | reply.flags | extra, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def parse_reply_line(line: bytes, *, strict: bool = True) -> tuple[str, Reply, dict[str, Any]]:
    """The id, the reply and all keys of a line.

    Args:
        line: One line, with or without its end.
        strict: Whether keys other than those of a stored reply, and what cannot be one by its length, are refused.

    Raises:
        ValueError: The line is none; the message says why.
    """
    if strict and len(line) > _MAX_LINE:
        raise ValueError(f"it has {len(line):,} bytes, more than a stored reply can have")
    record = parse_json(line)
    if not isinstance(record, dict):
        raise ValueError('it is not an object like {"id": ..., "reply": ...}')
    for key in ("id", "reply"):
        if not isinstance(record.get(key), str):
            raise ValueError(f"{key!r} must be a string")
    for key in FLAGS:
        if not isinstance(record.get(key, False), bool):
            raise ValueError(f"{key!r} must be true or false")
    if record.get("refused", False) and record["reply"]:
        raise ValueError("a refused reply must be empty")
    if strict and (unknown := sorted(record.keys() - {"id", "reply", *FLAGS})):
        raise ValueError(f"unknown key {unknown[0]!r}")
    if strict and len(record["reply"]) > MAX_REPLY_CHARS:
        raise ValueError(f"the reply is longer than {MAX_REPLY_CHARS} characters")
    if record.get("cut", False) and len(record["reply"]) < MAX_REPLY_CHARS:
        raise ValueError(f"a cut reply has {MAX_REPLY_CHARS} characters")
    return record["id"], Reply(record["reply"], **{flag: record.get(flag, False) for flag in FLAGS}), record
