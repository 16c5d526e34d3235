"""Runs that were re-scored before, by the content of their files: what was found then is found again without work.

A key covers the bytes of result and replies and every line of code and data that decides what is found in them, with
the versions of Python and NumPy. So nothing that another version found is ever used. Only runs without a problem are
kept, and an entry that is damaged counts as none. `lgbench validate` keeps nothing and uses nothing of this.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import zlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lgbench.evaluation.folder import REPLIES_FILE, RESULT_FILE
from lgbench.evaluation.stored import SUBMITTED_CAPS
from lgbench.results.schema import Result
from lgbench.submissions.likeness import WrongReplies
from lgbench.util.files import write_atomically
from lgbench.util.records import MAX_RECORD_BYTES, InvalidFileError, read_capped
from lgbench.version import __version__

_DECISIVE = ("data", "evaluation", "results", "scoring", "submissions", "util")
_MOST_BYTES = 4_000_000
_DIGEST = 64


class Found(NamedTuple):
    """What a run without a problem was found to be.

    Attributes:
        result: The result with every count.
        wrong: What is compared of its wrong replies.
    """

    result: Result
    wrong: WrongReplies


class KeptScores:
    """A folder of what was found in runs.

    Args:
        folder: Where entries are kept; made when the first is. Entries of other versions in it are removed then.
    """

    def __init__(self, folder: Path) -> None:
        self._root = folder
        self._folder = folder / code_digest()[:16]

    def key(self, run: Path) -> str | None:
        """What a run is kept by; None where its files cannot be read, and are to be checked as any others."""
        digest = hashlib.sha256(code_digest().encode())
        try:
            for name, most in ((RESULT_FILE, MAX_RECORD_BYTES), (REPLIES_FILE, SUBMITTED_CAPS.packed)):
                content = read_capped(run / name, most)
                digest.update(len(content).to_bytes(8, "big") + content)
        except InvalidFileError:
            return None
        return digest.hexdigest()

    def get(self, key: str) -> Found | None:
        """What was kept, if it is there and whole."""
        try:
            content = read_capped(self._path(key), _MOST_BYTES)
            checksum, payload = content[:_DIGEST], content[_DIGEST:]
            if hashlib.sha256(key.encode() + payload).hexdigest().encode() != checksum:
                return None
            entry = json.loads(payload)
            texts = np.frombuffer(zlib.decompress(base64.b64decode(entry["texts"])), np.dtype("<u4"))
            result = Result.model_validate_json(json.dumps(entry["result"]), strict=True)
        except (InvalidFileError, OSError, ValueError, KeyError, zlib.error):
            return None
        return Found(result, WrongReplies(tuple(entry["of"]), texts.astype(np.uint32)))

    def put(self, key: str, found: Found) -> None:
        """Keep what was found. Where that is not possible, it is found again the next time."""
        texts = base64.b64encode(zlib.compress(found.wrong.texts.astype("<u4").tobytes(), 1)).decode()
        entry = {"result": found.result.model_dump(mode="json"), "of": found.wrong.of, "texts": texts}
        payload = json.dumps(entry, separators=(",", ":")).encode()
        checksum = hashlib.sha256(key.encode() + payload).hexdigest().encode()
        try:
            if not self._folder.exists():
                self._forget_others()
            self._path(key).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(key), checksum + payload)
        except OSError:
            return

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _forget_others(self) -> None:
        for other in self._root.glob("*/"):
            if len(other.name) == len(self._folder.name) and not other.is_symlink():
                shutil.rmtree(other, ignore_errors=True)


def default_folder() -> Path:
    """Where scores are kept: LGBENCH_CACHE, or `lgbench` among the caches of the user; there in `scores`."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("LGBENCH_CACHE") or Path(cache_home, "lgbench")) / "scores"


@cache
def code_digest() -> str:
    """A hash of every file of the package that decides what is found in a run, and of what executes it."""
    digest = hashlib.sha256(f"{__version__} {platform.python_version()} {np.__version__}".encode())
    for name in _DECISIVE:
        _add(digest, files("lgbench") / name, name)
    return digest.hexdigest()


def _add(digest: hashlib._Hash, place: Traversable, name: str) -> None:
    for each in sorted(place.iterdir(), key=lambda each: each.name):
        path = f"{name}/{each.name}"
        if each.is_dir() and each.name != "__pycache__":
            _add(digest, each, path)
        elif each.is_file():
            content = each.read_bytes()
            digest.update(f"{path} {len(content)}\n".encode() + content)
