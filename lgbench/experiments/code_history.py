"""Which code and which machines a run was trained by, for studies that go on for days."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

import lgbench
from lgbench.training.hooks import Hook
from lgbench.training.record import Machine
from lgbench.training.trainer import Training
from lgbench.util.records import read_record, write_record

HISTORY = "code.json"
"""The file of a run's folder that holds its `CodeHistory`."""
_TRAINS = ("data", "methods", "models", "training")


class Piece(BaseModel):
    """What trained a run for a while.

    Attributes:
        from_step: The steps that were done before.
        code: SHA-256 of the package's folders that decide what comes out: `data`, `methods`, `models` and `training`.
            Records made until November 2026 leave `methods` out.
        machine: Where.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    from_step: int
    code: str
    machine: Machine

    def difference(self, other: Piece) -> str | None:
        """What changed from this to the other, in words; None if nothing did."""
        changes = []
        if self.code != other.code:
            changes.append("other code")
        if self.machine != other.machine:
            changes.append("another machine or other versions")
        return " and ".join(changes) or None


class CodeHistory(BaseModel):
    """The pieces of a run, in order; a new one where code or machine changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pieces: tuple[Piece, ...]


class NoteCode(Hook):
    """Write down by which code and on which machine the run goes on.

    Args:
        say: Called with a sentence if either has changed since the run began.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def start(self, training: Training) -> None:
        """Add a piece, if something changed."""
        path = training.folder / HISTORY
        pieces = read_record(path, CodeHistory).pieces if path.is_file() and training.step > 0 else ()
        now = Piece(from_step=training.step, code=code_sha256(), machine=Machine.current(training.device))
        change = pieces[-1].difference(now) if pieces else None
        if pieces and change is None:
            return
        write_record(path, CodeHistory(pieces=(*pieces, now)))
        if change is not None:
            self._say(f"from step {training.step} on it is trained by {change} than before")


def code_sha256() -> str:
    """Of the package's folders that decide what a run comes to."""
    package = Path(lgbench.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(path for folder in _TRAINS for path in (package / folder).rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()}\n".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def code_changes(folders: Sequence[Path]) -> list[str]:
    """What a reader must know of the code and machines behind some runs, a sentence each."""
    histories = [read_record(path, CodeHistory) for folder in folders if (path := folder / HISTORY).is_file()]
    pieces = [piece for history in histories for piece in history.pieces]
    found = []
    if (codes := len({piece.code for piece in pieces})) > 1:
        found.append(f"The runs were trained by {codes} versions of the code.")
    if (machines := len({piece.machine.model_dump_json() for piece in pieces})) > 1:
        found.append(f"The runs were trained on {machines} machines, or with different versions of libraries.")
    if resumed := sum(len(history.pieces) > 1 for history in histories):
        found.append(f"In {resumed} of {len(folders)} runs one of these changed on the way.")
    return found
