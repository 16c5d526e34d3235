"""Layer 3: the replies of a result on disk, and the digest that pins them all."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lgbench.records import MAX_PROBLEMS, InvalidFileError, Problem, json_line, read_capped
from lgbench.replies import Reply, parse_reply_line, reply_line


class Caps(NamedTuple):
    """How large a file of replies may be, in bytes as it lies on disk, and unpacked."""

    packed: int
    unpacked: int


LOCAL_CAPS = Caps(500_000_000, 2_000_000_000)
"""Of one's own runs: every reply to `standard-v1` could be at its full length."""


class RepliesDigest:
    """SHA-256 over one JSON line `[id, reply]` for each reply, in the order added."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, example_id: str, text: str) -> None:
        """Take in the next reply."""
        self._hash.update(json_line(example_id, text))

    def hexdigest(self) -> str:
        """The digest of the replies so far."""
        return self._hash.hexdigest()


class StoredReplies:
    """Writes `replies.jsonl.gz`: the replies that cannot be rebuilt, which are the wrong ones and the flagged ones."""

    def __init__(self, file: BinaryIO) -> None:
        # Neither a name nor a time goes into the header: the same replies give the same bytes.
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)

    def add(self, example_id: str, reply: Reply, *, right: bool) -> None:
        """Write a reply unless it is right and nothing else is to be told of it."""
        if not right or reply.flags:
            self._gzip.write(reply_line(example_id, reply))

    def close(self) -> None:
        """Finish the compressed stream. The file itself stays open."""
        self._gzip.close()


def read_stored_replies(path: Path, caps: Caps = LOCAL_CAPS) -> dict[str, Reply]:
    """Read `replies.jsonl.gz`, by example id.

    Raises:
        InvalidFileError: It is missing, over the size caps, damaged, or holds lines that are no stored replies; with
            the first hundred such lines.
    """
    replies: dict[str, Reply] = {}
    problems: list[Problem] = []
    for number, line in enumerate(io.BytesIO(_unpack(path, caps)), start=1):
        if len(problems) == MAX_PROBLEMS:
            problems.append(Problem(f"line {number}", "and what follows was not read: too much before it is wrong."))
            break
        try:
            example_id, reply, _ = parse_reply_line(line)
            if example_id in replies:
                raise ValueError(f"the id {example_id!r} is repeated")
            replies[example_id] = reply
        except ValueError as error:
            problems.append(Problem(f"line {number}", f"{error}."))
    if problems:
        raise InvalidFileError(path, problems)
    return replies


def _unpack(path: Path, caps: Caps) -> bytes:
    packed = read_capped(path, caps.packed)
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = unpacker.decompress(packed, caps.unpacked)
    except zlib.error:
        raise InvalidFileError(path, [Problem("", "is not a gzip file, or is damaged.")]) from None
    if unpacker.unconsumed_tail:
        raise InvalidFileError(path, [Problem("", f"unpacks to more than {caps.unpacked:,} bytes.")])
    if not unpacker.eof:
        raise InvalidFileError(path, [Problem("", "is cut short.")])
    if unpacker.unused_data:
        raise InvalidFileError(path, [Problem("", "has bytes after its end.")])
    return content
