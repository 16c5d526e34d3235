"""A file by URL and SHA-256: a bounded download, whose content is trusted only once its hash is the expected one."""

from __future__ import annotations

import hashlib
import http.client
import queue
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, NamedTuple

from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain
from lgbench.version import __version__

SECONDS = 600.0
"""How long a download may take in all."""
_STALL = 30.0
_CHUNK = 1 << 20


class Remote(NamedTuple):
    """A file that a server has.

    Attributes:
        url: Where, by http or https.
        sha256: Its hash.
        what: What it is, in the plural, as messages say: `weights`.
    """

    url: str
    sha256: str
    what: str


def fetch_file(remote: Remote, target: Path, *, most_bytes: int, seconds: float = SECONDS) -> None:
    """Download a file.

    Args:
        remote: What, and where it is.
        target: The file to write.
        most_bytes: What is larger is not read.
        seconds: In all.

    Raises:
        LgbenchError: It cannot be reached, is too large, comes too slowly, or has another hash.
    """
    url = plain(remote.url, limit=300)
    request = urllib.request.Request(remote.url, headers={"User-Agent": f"lgbench/{__version__}"})
    try:
        until = time.monotonic() + seconds
        with _open_within(request, url, seconds) as answer, target.open("xb") as file:
            found = _copy(answer, file, url, most_bytes=most_bytes, until=until)
    except urllib.error.HTTPError as error:
        error.close()
        raise LgbenchError(f"The {remote.what} cannot be downloaded: {url} answers with status {error.code}.") from None
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = plain(str(getattr(error, "reason", error)) or type(error).__name__, limit=200)
        raise LgbenchError(f"The {remote.what} cannot be downloaded: {url} cannot be reached ({reason}).") from None
    check_hash(found, remote, url)


def check_hash(found: str, remote: Remote, place: str) -> None:
    """Make sure that a file is the expected one.

    Args:
        found: The SHA-256 of the file.
        remote: What it must be.
        place: Where it is, for the message.

    Raises:
        LgbenchError: It is another one.
    """
    if found != remote.sha256:
        raise LgbenchError(
            f"{place} holds other {remote.what} than the submission names: SHA-256 {found}, not {remote.sha256}."
        )


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


def _open_within(request: urllib.request.Request, url: str, seconds: float) -> http.client.HTTPResponse:
    """The answer, once its headers are here. A socket's own timeout begins again with each byte of them."""
    answers: queue.SimpleQueue[http.client.HTTPResponse | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_open(request))
        except Exception as error:  # noqa: BLE001  # raised where it is waited for
            answers.put(error)

    threading.Thread(target=ask, daemon=True, name="lgbench-download").start()
    try:
        found = answers.get(timeout=seconds)
    except queue.Empty:
        raise LgbenchError(f"{url} comes too slowly: no answer in the time that a download may take.") from None
    if isinstance(found, Exception):
        raise found
    return found


def _copy(answer: http.client.HTTPResponse, file: IO[bytes], url: str, *, most_bytes: int, until: float) -> str:
    """Write what a server sends to a file; gives its SHA-256."""
    digest, received = hashlib.sha256(), 0
    while chunk := answer.read1(_CHUNK):
        received += len(chunk)
        if received > most_bytes:
            raise LgbenchError(f"{url} is larger than {most_bytes:,} bytes, the most that is expected there.")
        if time.monotonic() > until:
            raise LgbenchError(f"{url} comes too slowly: {received:,} bytes in the time that a download may take.")
        digest.update(chunk)
        file.write(chunk)
    if answer.length:
        raise LgbenchError(f"{url} broke off after {received:,} bytes.")
    return digest.hexdigest()
