"""Weights by URL and SHA-256: a bounded download, whose content is trusted only once its hash is that of the record."""

from __future__ import annotations

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from lgbench.submissions.declaration import WeightsRecord
from lgbench.util.errors import LgbenchError
from lgbench.util.files import sha256_of
from lgbench.util.text import plain
from lgbench.version import __version__

SECONDS = 600.0
"""The longest that a whole download may take."""
_STALL = 30.0
_CHUNK = 1 << 20


def fetch_weights(weights: WeightsRecord, target: Path, *, most_bytes: int) -> None:
    """Download weights to a file.

    Args:
        weights: Where they are, and their hash.
        target: The file to write.
        most_bytes: The most that is read. The weights of such a model are not larger.

    Raises:
        LgbenchError: They cannot be reached, are too large, come too slowly, or have another hash.
    """
    url = plain(weights.url, limit=300)
    request = urllib.request.Request(weights.url, headers={"User-Agent": f"lgbench/{__version__}"})
    try:
        with _open(request) as answer, target.open("xb") as file:
            found = _copy(answer, file, url, most_bytes=most_bytes, until=time.monotonic() + SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise LgbenchError(f"The weights cannot be had: {url} answers with status {error.code}.") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = plain(str(getattr(error, "reason", error)) or type(error).__name__, limit=200)
        raise LgbenchError(f"The weights cannot be had: {url} cannot be reached ({reason}).") from None
    _check_hash(found, weights.sha256, url)


def check_weights(path: Path, weights: WeightsRecord) -> None:
    """Make sure that a file holds the weights that a record names.

    Raises:
        LgbenchError: It is missing, or holds others.
    """
    if not path.is_file():
        raise LgbenchError(f"There are no weights {str(path)!r}.")
    _check_hash(sha256_of(path), weights.sha256, str(path))


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows a server to other web addresses, and never to a file or to FTP."""

    def redirect_request(self, *arguments: object) -> urllib.request.Request | None:
        """The request that follows."""
        target = str(arguments[-1])
        if not target.startswith(("http://", "https://")):
            arguments[1].close()  # type: ignore[attr-defined]
            raise urllib.error.URLError(f"it sends on to {plain(target, limit=100)}, which is not a web address")
        return super().redirect_request(*arguments)  # type: ignore[arg-type]


def _open(request: urllib.request.Request) -> http.client.HTTPResponse:
    opened: http.client.HTTPResponse = urllib.request.build_opener(_WebOnly).open(request, timeout=_STALL)
    return opened


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], url: str, *, most_bytes: int, until: float) -> str:
    """Write what a server sends to a file, and return its SHA-256."""
    digest, received = hashlib.sha256(), 0
    while chunk := answer.read1(_CHUNK):
        received += len(chunk)
        if received > most_bytes:
            raise LgbenchError(f"{url} is larger than {most_bytes:,} bytes: a model of this size has smaller weights.")
        if time.monotonic() > until:
            raise LgbenchError(f"{url} comes too slowly: {received:,} bytes in the time that a download may take.")
        digest.update(chunk)
        file.write(chunk)
    if answer.length:
        raise LgbenchError(f"{url} broke off after {received:,} bytes.")
    return digest.hexdigest()


def _check_hash(found: str, wanted: str, place: str) -> None:
    if found != wanted:
        raise LgbenchError(f"{place} holds other weights than the submission names: SHA-256 {found}, not {wanted}.")
