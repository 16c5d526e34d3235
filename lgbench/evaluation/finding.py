"""Finished evaluations in and below folders, wherever their user keeps them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lgbench.evaluation.folder import PARTIAL_FILE, RESULT_FILE
from lgbench.util.errors import LgbenchError


class NoEvaluationError(LgbenchError):
    """A folder holds no evaluation, finished or not.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(f"{str(folder)!r} holds no finished evaluation: there is no {RESULT_FILE} in it.")
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.folder,)


class Found(NamedTuple):
    """What was found in folders.

    Attributes:
        finished: The folders of finished evaluations, in order, each once.
        unfinished: Those of evaluations that can be resumed.
        unreadable: A sentence for each folder that could not be searched.
    """

    finished: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    unreadable: tuple[str, ...]


def find_runs(folders: Sequence[Path]) -> Found:
    """The evaluations in and below these folders.

    Raises:
        LgbenchError: One of the folders does not exist, or holds no finished evaluation and nothing unreadable.
        NoEvaluationError: One of them holds nothing of an evaluation.
    """
    finished: list[Path] = []
    unfinished: list[Path] = []
    unreadable: list[str] = []
    for folder in folders:
        closed: list[str] = []
        done = [path.parent for path in files_named(RESULT_FILE, [folder], unreadable=closed)]
        begun = [path.parent for path in files_named(PARTIAL_FILE, [folder], unreadable=[])]
        begun = [path for path in begun if path not in done]
        if not done and not closed and begun:
            raise LgbenchError(
                f"The evaluation in {str(begun[0])!r} is not finished. Resume it with its command and --resume."
            )
        if not done and not closed:
            raise NoEvaluationError(folder)
        finished += done
        unfinished += begun
        unreadable += closed
    return Found(_each_once(finished), _each_once(unfinished), tuple(dict.fromkeys(unreadable)))


def _each_once(folders: Sequence[Path]) -> tuple[Path, ...]:
    unique: dict[Path, Path] = {}
    for folder in folders:
        unique.setdefault(folder.resolve(), folder)
    return tuple(unique.values())


def files_named(name: str, folders: Sequence[Path], *, unreadable: list[str] | None = None) -> list[Path]:
    """The files of this name in and below the folders, in order.

    Args:
        name: The name.
        folders: Where to search.
        unreadable: Gets a sentence for each folder that cannot be read; without it, the first of them is an error.

    Raises:
        LgbenchError: One of the folders does not exist, or one in them cannot be read.
    """
    for folder in folders:
        if not folder.is_dir():
            if folder.exists():
                raise LgbenchError(f"{str(folder)!r} is a file: name the folder that holds it.")
            raise LgbenchError(f"There is no folder {str(folder)!r}.")
    return [path for folder in folders for path in sorted(_walk(folder, name, unreadable))]


def _walk(folder: Path, name: str, unreadable: list[str] | None) -> Iterator[Path]:
    """The files of this name, also behind links to folders: runs are often kept on another disk."""

    def refuse(error: OSError) -> None:
        # A run that is passed over would be missing from every mean without a word.
        sentence = f"Cannot read {str(error.filename)!r}: {error.strerror}."
        if unreadable is None:
            raise LgbenchError(f"{sentence} Make it readable, or name only the other folders.") from None
        unreadable.append(sentence)

    seen = set()
    for place, inner, files in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            inner.clear()
            continue
        seen.add(real)
        inner.sort(key=lambda inside: Path(place, inside).is_symlink())  # last: a run is named by its own path
        if name in files:
            yield Path(place, name)
