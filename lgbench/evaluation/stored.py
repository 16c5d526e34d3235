"""The replies of a result on disk, and the digest that pins them all."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lgbench.data.suites import SUITES
from lgbench.evaluation.offsite import MAX_PACKED_BYTES, located
from lgbench.results.reply import Reply, parse_reply_line, reply_line
from lgbench.util.records import MAX_PROBLEMS, InvalidFileError, Problem, check_capped, json_line, read_errors


class Caps(NamedTuple):
    """How large a file of replies may be, in bytes as it lies on disk, and unpacked."""

    packed: int
    unpacked: int


LOCAL_CAPS = Caps(500_000_000, 2_000_000_000)
"""Of one's own runs: every reply to `standard-v1` could be at its full length."""
SUBMITTED_CAPS = Caps(MAX_PACKED_BYTES, 64_000_000)
SYSTEM_FILE = "system.json"
"""What lies beside the runs of a submitted system, and beside no others."""
_MOST = max(len(suite.cells()) * suite.examples_per_cell for suite in SUITES)
_PIECE = 2**17  # bytes that are unpacked at a time, and that a line never has
_PLAIN_HEADER = b"\x1f\x8b\x08" + bytes(5)  # gzip's, with neither a name nor a time


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


def caps_of(run: Path) -> Caps:
    """How large the replies of a run may be: less in a submitted system, which a stranger may have made."""
    return SUBMITTED_CAPS if (run.parent / SYSTEM_FILE).exists() else LOCAL_CAPS


class StoredReply(NamedTuple):
    """A reply in `replies.jsonl.gz`, and the number of its line, from 1."""

    line: int
    example_id: str
    reply: Reply


class StoredRepliesReader:
    """Reads `replies.jsonl.gz`, wherever it is, line by line; no more than a line of it is in memory.

    Args:
        path: The file.
        caps: How large it may be.

    Attributes:
        path: The file.
        oddity: After reading: what in it `StoredReplies` would have written otherwise; None where nothing.
    """

    def __init__(self, path: Path, caps: Caps) -> None:
        self.path = path
        self.oddity: Problem | None = None
        self._caps = caps

    def __iter__(self) -> Iterator[StoredReply]:
        """Every stored reply, by line.

        Raises:
            InvalidFileError: The file is missing, over the caps or damaged; or, after the last good line, it holds
                lines that are no stored replies; with the first hundred such lines.
        """
        problems: list[Problem] = []
        for number, line in enumerate(self._lines(), start=1):
            if number > _MOST:
                raise InvalidFileError(self.path, [*problems, Problem("", f"has more than {_MOST:,} lines.")])
            if len(problems) == MAX_PROBLEMS:
                problems.append(
                    Problem(f"line {number}", "and what follows was not read: too much before it is wrong.")
                )
                break
            try:
                example_id, reply, _ = parse_reply_line(line)
            except ValueError as error:
                problems.append(Problem(f"line {number}", f"{error}."))
                continue
            if self.oddity is None and line != reply_line(example_id, reply):
                self.oddity = Problem(f"line {number}", "is not written as `lgbench eval` writes it.")
            yield StoredReply(number, example_id, reply)
        if problems:
            raise InvalidFileError(self.path, problems)

    def _lines(self) -> Iterator[bytes]:
        """The lines with their ends; the last may have none."""
        begun, number = b"", 1
        for piece in self._pieces():
            *whole, begun = (begun + piece).split(b"\n")
            for line in whole:
                yield line + b"\n"
            number += len(whole)
            if len(begun) > _PIECE:
                too_long = f"it has more than {_PIECE:,} bytes, more than a stored reply can have."
                raise InvalidFileError(self.path, [Problem(f"line {number}", too_long)])
        if begun:
            yield begun

    def _pieces(self) -> Iterator[bytes]:
        """The content, unpacked piece by piece."""
        path = located(self.path)
        check_capped(path, self._caps.packed)
        unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        unpacked = 0
        with read_errors(path), path.open("rb") as file:
            if file.read(len(_PLAIN_HEADER)) != _PLAIN_HEADER:
                self.oddity = Problem("", "has a name or a time in its header, which `lgbench eval` leaves out.")
            file.seek(0)
            while not unpacker.eof:
                packed = unpacker.unconsumed_tail or file.read(_PIECE)
                try:
                    piece = unpacker.decompress(packed, _PIECE)
                except zlib.error:
                    raise self._damaged("is not a gzip file, or is damaged.") from None
                if not packed and not piece:
                    raise self._damaged("is cut short.")
                unpacked += len(piece)
                if unpacked > self._caps.unpacked:
                    raise self._damaged(f"unpacks to more than {self._caps.unpacked:,} bytes.")
                yield piece
            if unpacker.unused_data or file.read(1):
                raise self._damaged("has bytes after its end.")

    def _damaged(self, message: str) -> InvalidFileError:
        return InvalidFileError(self.path, [Problem("", message)])


def read_stored_replies(path: Path) -> dict[str, Reply]:
    """Read `replies.jsonl.gz`, by example id: all of it into memory.

    Raises:
        InvalidFileError: It is missing, over the size caps, damaged, or holds lines that are no stored replies; with
            the first hundred such lines.
    """
    replies: dict[str, Reply] = {}
    for number, example_id, reply in StoredRepliesReader(path, LOCAL_CAPS):
        if example_id in replies:
            raise InvalidFileError(path, [Problem(f"line {number}", f"the id {example_id!r} is repeated.")])
        replies[example_id] = reply
    return replies
