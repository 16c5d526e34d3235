"""Weights by URL and SHA-256, or from a local file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lgbench.submissions.declaration import WeightsRecord
from lgbench.util.download import SECONDS, Remote, check_hash, fetch_file
from lgbench.util.errors import LgbenchError


def fetch_weights(weights: WeightsRecord, target: Path, *, most_bytes: int, seconds: float = SECONDS) -> None:
    """Download weights to a file.

    Args:
        weights: Where they are, and their hash.
        target: The file to write.
        most_bytes: More than this is no weights of such a model, and is not read.
        seconds: In all.

    Raises:
        LgbenchError: They cannot be reached, are too large, come too slowly, or have another hash.
    """
    fetch_file(_remote(weights), target, most_bytes=most_bytes, seconds=seconds)


def check_weights(path: Path, weights: WeightsRecord) -> None:
    """Make sure that a file holds the weights that a record names.

    Raises:
        LgbenchError: It is missing, or holds others.
    """
    if not path.is_file():
        raise LgbenchError(f"There are no weights {str(path)!r}.")
    with path.open("rb") as file:
        check_hash(hashlib.file_digest(file, "sha256").hexdigest(), _remote(weights), str(path))


def _remote(weights: WeightsRecord) -> Remote:
    return Remote(weights.url, weights.sha256, "weights")
