"""Finished runs in the folders that a user names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
        LgbenchError: One of the folders does not exist, holds no finished evaluation, or cannot be read.
    """
    from lgbench.training.evaluated import find_evaluations

    found = find_evaluations(folders)
    if found.unreadable:
        raise LgbenchError(unreadable_sentence(found.unreadable))
    tell_unfinished(found.unfinished)
    return list(found.finished)


def tell_unfinished(folders: Iterable[Path]) -> None:
    """Say on stderr which evaluations are left out, as they are not finished."""
    for folder in folders:
        typer.echo(f"Left out: {plain(folder, limit=LONGEST_PATH)}, as its evaluation is not finished.", err=True)


def unreadable_sentence(sentences: Sequence[str]) -> str:
    """What to do about folders that cannot be read."""
    them = "it" if len(sentences) == 1 else "them"
    return "\n".join([*sentences[:-1], f"{sentences[-1]} Make {them} readable, or name only the other folders."])


def named_folders(given: Sequence[str]) -> list[tuple[str | None, Path]]:
    """The folders that a user names, each with the name in NAME=DIR. A folder may have `=` in its own name.

    Raises:
        LgbenchError: One side of `=` is empty.
    """
    named = list[tuple[str | None, Path]]()
    for text in given:
        name, equals, folder = text.partition("=")
        if equals and not Path(text).exists():
            if not name or not folder:
                raise LgbenchError(f"{text!r} does not read as NAME=DIR, and there is no folder of this name.")
            named.append((name, Path(folder)))
        else:
            named.append((None, Path(text)))
    return named


def files_named(name: str, folders: Sequence[Path]) -> list[Path]:
    """The files of this name in and below the folders, in order.

    Raises:
        LgbenchError: One of the folders does not exist, or one in them cannot be read.
    """
    from lgbench.evaluation import finding

    return finding.files_named(name, folders)


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
