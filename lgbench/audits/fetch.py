"""Weights by URL and SHA-256, or from a local file."""

from __future__ import annotations

from pathlib import Path

from lgbench.submissions.declaration import WeightsRecord
from lgbench.util.download import SECONDS, Remote, check_hash, fetch_file
from lgbench.util.errors import LgbenchError
from lgbench.util.files import sha256_of


def fetch_weights(weights: WeightsRecord, target: Path, *, most_bytes: int) -> None:
    """Download weights to a file.

    Args:
        weights: Where they are, and their hash.
        target: The file to write.
        most_bytes: The most that is read. The weights of such a model are not larger.

    Raises:
        LgbenchError: They cannot be reached, are too large, come too slowly, or have another hash.
    """
    fetch_file(_remote(weights), target, most_bytes=most_bytes, seconds=SECONDS)


def check_weights(path: Path, weights: WeightsRecord) -> None:
    """Make sure that a file holds the weights that a record names.

    Raises:
        LgbenchError: It is missing, or holds others.
    """
    if not path.is_file():
        raise LgbenchError(f"There are no weights {str(path)!r}.")
    check_hash(sha256_of(path), _remote(weights), str(path))


def _remote(weights: WeightsRecord) -> Remote:
    return Remote(weights.url, weights.sha256, "weights")
