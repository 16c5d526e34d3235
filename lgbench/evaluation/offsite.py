"""Replies of a submitted run that are not beside its result: a record has their address and hash, a store the bytes.

Nothing here uses the network. `lgbench validate --fetch` fills the store.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from lgbench.results.schema import Link, Sha256
from lgbench.util.cache import cache_folder
from lgbench.util.records import InvalidFileError, Problem, read_capped, read_record

OFFSITE_FILE = "replies.json"
"""What a run has in the place of its replies."""
MAX_OFFSITE_BYTES = 2_000
MAX_PACKED_BYTES = 8_000_000
"""Of a submitted run's replies, as they lie on disk."""


class OffsiteReplies(BaseModel):
    """Where the replies of a run are: the content of `replies.json`.

    Attributes:
        schema_version: Of this format.
        url: Of the file `replies.jsonl.gz`, by http or https.
        sha256: Of that file.
        bytes: Its size.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    url: Link
    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MAX_PACKED_BYTES)]


def stored_at(sha256: str) -> Path:
    """Where the store has replies of this hash, or would have them."""
    return cache_folder() / "replies" / sha256[:2] / sha256


def is_stored(replies: OffsiteReplies) -> bool:
    """Whether the store has these replies, whole."""
    try:
        return hashlib.sha256(read_capped(stored_at(replies.sha256), MAX_PACKED_BYTES)).hexdigest() == replies.sha256
    except InvalidFileError:
        return False


def located(path: Path) -> Path:
    """Where replies are read: beside their result, or in the store if a record there has their hash.

    Args:
        path: The file `replies.jsonl.gz` beside a result.

    Raises:
        InvalidFileError: There is a record, but it is invalid, or the store does not have its replies.
    """
    record = path.with_name(OFFSITE_FILE)
    if path.exists() or path.is_symlink() or not (record.exists() or record.is_symlink()):
        return path
    replies = read_record(record, OffsiteReplies, max_bytes=MAX_OFFSITE_BYTES)
    if not is_stored(replies):
        message = f"names replies that are not here yet. `lgbench validate --fetch` gets them from {replies.url}."
        raise InvalidFileError(record, [Problem("", message)])
    return stored_at(replies.sha256)
