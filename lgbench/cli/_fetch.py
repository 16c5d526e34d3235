"""The option `--fetch`: get replies that submissions name by address and hash."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lgbench.submissions.checked import FileProblem

Fetch = Annotated[
    bool,
    typer.Option("--fetch", help="Download replies that are stored elsewhere, and check their hash."),
]


def fetched(folders: Sequence[Path], *, quiet: bool) -> tuple[FileProblem, ...]:
    """Fetch what these folders name. Gives what could not be fetched."""
    from lgbench.cli._progress import counting
    from lgbench.submissions.fetching import fetch_replies

    with counting("fetching replies", quiet=quiet) as report:
        return fetch_replies(folders, report)


def fetch_all(folder: Path, *, quiet: bool) -> None:
    """Fetch what a folder of submissions names.

    Raises:
        LgbenchError: Some of it could not be fetched.
    """
    from lgbench.util.errors import LgbenchError

    if problems := fetched([folder], quiet=quiet):
        raise LgbenchError("\n".join(map(str, problems)))
