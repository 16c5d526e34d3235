"""Runs and systems that were checked before, by the content of their files: what was found is found without work.

The key of a run covers the bytes of result and replies and every line of code and data that decides what is found in
them, with the versions of Python and NumPy. That of a system covers its name, all of its files and its audits, and all
of lgbench with what it computes and writes with. So nothing that another version found is ever used. Only what has no
problem is kept, and an entry that is damaged counts as none. `lgbench validate` keeps nothing and uses nothing of this.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import zlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lgbench.evaluation.folder import REPLIES_FILE, RESULT_FILE
from lgbench.evaluation.offsite import OFFSITE_FILE, located
from lgbench.evaluation.stored import SUBMITTED_CAPS, SYSTEM_FILE
from lgbench.results.schema import Result
from lgbench.submissions.audit_record import AuditRecord
from lgbench.submissions.copies import Trace
from lgbench.submissions.declaration import DECLARATION_FILE, WEIGHTS_FILE
from lgbench.submissions.likeness import WrongReplies
from lgbench.training.record import RECORD
from lgbench.util.cache import cache_folder
from lgbench.util.files import write_atomically
from lgbench.util.records import MAX_RECORD_BYTES, InvalidFileError, read_capped
from lgbench.version import __version__

_DECISIVE = ("data", "evaluation", "models", "results", "scoring", "submissions", "util")
_MOST_BYTES = 4_000_000
_DIGEST, _VERSION = 64, 16
OF_A_RUN = (RESULT_FILE, REPLIES_FILE, OFFSITE_FILE, RECORD, WEIGHTS_FILE)
"""The files that a run's folder may hold."""
OF_A_SYSTEM = (SYSTEM_FILE, DECLARATION_FILE)
"""The files that a system's folder may hold beside its runs."""


class Found(NamedTuple):
    """What a run without a problem was found to be.

    Attributes:
        result: The result with every count.
        wrong: What is compared of its wrong replies.
    """

    result: Result
    wrong: WrongReplies


class FoundSystem(NamedTuple):
    """What is left of a system without a problem.

    Attributes:
        runs: By folder, what would show that another system's run is a copy.
        part: What it was reduced to.
        same_recipe_as: As its declaration has it.
    """

    runs: dict[str, Trace]
    part: tuple[bytes, ...]
    same_recipe_as: str | None = None


class KeptScores:
    """A folder of what was found in runs, and of what was derived from systems.

    Args:
        folder: Where entries are kept; made when the first is. Entries of other versions in it are removed then.
    """

    def __init__(self, folder: Path) -> None:
        self._runs = _Entries(folder, code_digest())
        self._systems = _Entries(folder / "systems", package_digest())

    def key(self, run: Path) -> str | None:
        """What a run is kept by; None where its files cannot be read, and are to be checked as any others."""
        digest = hashlib.sha256(code_digest().encode())
        try:
            for name, most in ((RESULT_FILE, MAX_RECORD_BYTES), (REPLIES_FILE, SUBMITTED_CAPS.packed)):
                content = read_capped(located(run / name), most)
                digest.update(len(content).to_bytes(8, "big") + content)
        except InvalidFileError:
            return None
        return digest.hexdigest()

    def get(self, key: str) -> Found | None:
        """What was kept of a run, if it is there and whole."""
        try:
            entry = json.loads(self._runs.get(key) or b"")
            texts = np.frombuffer(zlib.decompress(base64.b64decode(entry["texts"])), np.dtype("<u4"))
            result = Result.model_validate_json(json.dumps(entry["result"]), strict=True)
        except (ValueError, KeyError, zlib.error):
            return None
        return Found(result, WrongReplies(tuple(entry["of"]), texts.astype(np.uint32)))

    def put(self, key: str, found: Found) -> None:
        """Keep what was found in a run. Where that is not possible, it is found again the next time."""
        texts = base64.b64encode(zlib.compress(found.wrong.texts.astype("<u4").tobytes(), 1)).decode()
        entry = {"result": found.result.model_dump(mode="json"), "of": found.wrong.of, "texts": texts}
        self._runs.put(key, json.dumps(entry, separators=(",", ":")).encode())

    def system_key(self, system: Path, audits: Sequence[AuditRecord], purpose: str) -> str | None:
        """What a system is kept by; None where it holds anything but the files of a system.

        Args:
            system: Its folder.
            audits: What maintainers found of it.
            purpose: What it is reduced to.
        """
        digest = hashlib.sha256(package_digest().encode())
        for text in (purpose, system.name, *(audit.model_dump_json() for audit in audits)):
            digest.update(len(text).to_bytes(8, "big") + text.encode())
        try:
            for name, content in _contents_of_system(system):
                digest.update(f"{len(name)} {name} {len(content)} ".encode() + content)
        except (InvalidFileError, OSError, UnicodeEncodeError):
            return None
        return digest.hexdigest()

    def get_system(self, key: str) -> FoundSystem | None:
        """What was kept of a system, if it is there and whole."""
        content = self._systems.get(key)
        if content is None:
            return None
        heading, _, blocks = content.partition(b"\n")
        try:
            entry = json.loads(heading)
            runs = {name: _trace(fields) for name, fields in entry["runs"].items()}
            ends = list(accumulate(entry["sizes"]))
            same_recipe_as = entry["same_recipe_as"]
        except (ValueError, KeyError, TypeError):
            return None
        part = tuple(blocks[end - size : end] for size, end in zip(entry["sizes"], ends, strict=True))
        return FoundSystem(runs, part, same_recipe_as)

    def put_system(self, key: str, found: FoundSystem) -> None:
        """Keep what is left of a system. Where that is not possible, it is derived again the next time."""
        sizes = [len(block) for block in found.part]
        entry = {"runs": found.runs, "sizes": sizes, "same_recipe_as": found.same_recipe_as}
        heading = json.dumps(entry, separators=(",", ":"), default=datetime.isoformat).encode()
        self._systems.put(key, b"\n".join([heading, b"".join(found.part)]))


def _trace(fields: list[Any]) -> Trace:
    kept = Trace(*fields)
    return kept._replace(started=datetime.fromisoformat(fields[Trace._fields.index("started")]))


def _contents_of_system(system: Path) -> Iterator[tuple[str, bytes]]:
    """Every file and folder of a system with its path in it, in order.

    Raises:
        InvalidFileError: One is too large, or no regular file.
        OSError: One cannot be read, or is none of a system's.
    """
    for name in _names(system):
        if name in OF_A_SYSTEM:
            yield name, read_capped(system / name, MAX_RECORD_BYTES)
            continue
        run = system / name
        if run.is_symlink():
            raise NotADirectoryError(str(run))
        yield f"{name}/", b""  # an empty folder is a problem, too
        for file in _names(run):
            if file not in OF_A_RUN:
                raise FileExistsError(str(run / file))
            most = SUBMITTED_CAPS.packed if file == REPLIES_FILE else MAX_RECORD_BYTES
            yield f"{name}/{file}", read_capped(run / file, most)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries)


class _Entries:
    """A folder of files by key, each with a checksum.

    Args:
        root: The folder. In it is one for the entries of each version; others are removed when the first is written.
        version: A hash of all that decides what an entry holds.
    """

    def __init__(self, root: Path, version: str) -> None:
        self._root = root
        self._folder = root / version[:_VERSION]

    def get(self, key: str) -> bytes | None:
        """The content of an entry, if it is there and whole."""
        try:
            content = read_capped(self._path(key), _MOST_BYTES)
        except InvalidFileError:
            return None
        checksum, payload = content[:_DIGEST], content[_DIGEST:]
        return payload if _checksum(key, payload) == checksum else None

    def put(self, key: str, payload: bytes) -> None:
        """Write an entry, if that is possible."""
        try:
            if not self._folder.exists():
                self._forget_others()
            self._path(key).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self._path(key), _checksum(key, payload) + payload)
        except OSError:
            return

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / key

    def _forget_others(self) -> None:
        for other in self._root.glob("*/"):
            if len(other.name) == _VERSION and not other.is_symlink():
                shutil.rmtree(other, ignore_errors=True)


def _checksum(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + payload).hexdigest().encode()


def default_folder() -> Path:
    """Where scores are kept: among the caches of lgbench, in `scores`."""
    return cache_folder() / "scores"


@cache
def package_digest() -> str:
    """A hash of every file of the package, and of what it computes and writes with."""
    versions = [f"{name} {version(name)}" for name in ("numpy", "pydantic", "pydantic-core", "scipy", "tabulate")]
    digest = hashlib.sha256(" ".join([__version__, platform.python_version(), *versions]).encode())
    _add(digest, files("lgbench"), "lgbench")
    return digest.hexdigest()


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
