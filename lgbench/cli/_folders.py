"""Finished runs in the folders that a user names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from lgbench.util.errors import LgbenchError
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    from lgbench.results.schema import Result

Found = TypeVar("Found")


def finished_runs(folders: Sequence[Path]) -> list[Path]:
    """The folders of finished evaluations in and below these, in order, each once. Unfinished ones are told of.

    Raises:
        LgbenchError: One of the folders does not exist, or holds no finished evaluation.
    """
    from lgbench.evaluation.folder import PARTIAL_FILE, RESULT_FILE

    found: list[Path] = []
    for folder in folders:
        finished = [path.parent for path in files_named(RESULT_FILE, [folder])]
        unfinished = [path.parent for path in files_named(PARTIAL_FILE, [folder]) if path.parent not in finished]
        if not finished and unfinished:
            raise LgbenchError(
                f"The evaluation in {str(unfinished[0])!r} is not finished. Go on with it by its command and --resume."
            )
        if not finished:
            raise LgbenchError(f"{str(folder)!r} holds no finished evaluation: there is no {RESULT_FILE} in it.")
        for left_out in unfinished:
            typer.echo(f"Left out: {plain(left_out, limit=LONGEST_PATH)}, as its evaluation is not finished.", err=True)
        found += finished
    unique: dict[Path, Path] = {}
    for folder in found:
        unique.setdefault(folder.resolve(), folder)
    return list(unique.values())


def files_named(name: str, folders: Sequence[Path]) -> list[Path]:
    """The files of this name in and below the folders, in order.

    Raises:
        LgbenchError: One of the folders does not exist, or one in them cannot be read.
    """
    for folder in folders:
        if not folder.is_dir():
            if folder.exists():
                raise LgbenchError(f"{str(folder)!r} is a file: name the folder that holds it.")
            raise LgbenchError(f"There is no folder {str(folder)!r}.")
    return [path for folder in folders for path in sorted(_walk(folder, name))]


def _walk(folder: Path, name: str) -> Iterator[Path]:
    """The files of this name, also behind links to folders: runs are often kept on another disk."""
    seen = set()
    for place, inner, files in os.walk(folder, onerror=_unreadable, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            inner.clear()
            continue
        seen.add(real)
        inner.sort(key=lambda inside: Path(place, inside).is_symlink())  # last: a run is named by its own path
        if name in files:
            yield Path(place, name)


def _unreadable(error: OSError) -> None:
    """A run that is passed over would be missing from every mean without a word."""
    raise LgbenchError(
        f"Cannot read {str(error.filename)!r}: {error.strerror}. Make it readable, or name the folders beside it."
    ) from None


def check_one_system(runs: Iterable[Path]) -> None:
    """Make sure that the runs are not of several submitted systems.

    Raises:
        LgbenchError: They are.
    """
    from lgbench.evaluation.stored import SYSTEM_FILE

    parents = dict.fromkeys(folder.resolve().parent for folder in runs)
    if len(systems := [parent.name for parent in parents if (parent / SYSTEM_FILE).exists()]) > 1:
        raise LgbenchError(f"These runs are of {len(systems)} systems, {plain(', '.join(systems))}: name those of one.")


def read_result(folder: Path) -> Result:
    """The result in the folder of a finished evaluation.

    Raises:
        InvalidFileError: It is malformed.
    """
    from lgbench.evaluation.folder import RESULT_FILE
    from lgbench.results.schema import Result
    from lgbench.util.records import read_record

    return read_record(folder / RESULT_FILE, Result)


def fitting(runs: Mapping[Path, Found], why_not: Callable[[Found], str | None]) -> dict[Path, Found]:
    """The runs that `why_not` gives no reason against; each other one is named on stderr with its reason."""
    reasons = {folder: why_not(run) for folder, run in runs.items()}
    for folder, reason in reasons.items():
        if reason is not None:
            typer.echo(f"Left out: {plain(folder, limit=LONGEST_PATH)}, as {plain(reason)}.", err=True)
    return {folder: run for folder, run in runs.items() if reasons[folder] is None}


def why_no_arm(result: Result) -> str | None:
    """Why a result cannot stand for an arm beside others; None where it can."""
    from lgbench.data.groups import OPEN_ARM
    from lgbench.scoring.systems import why_left_out

    return "it is of arm open" if result.arm == OPEN_ARM else why_left_out(result)
