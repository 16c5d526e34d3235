"""Opening the suite that `--suite` names: a published one, or the user's own, which is marked as a draft."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from lgbench.cli._streams import stdout_to_stderr

if TYPE_CHECKING:
    from lgbench.data.suites import Suite


def opened(suite: str) -> Suite:
    """The suite that a user names. That it is a draft is said on stderr.

    Raises:
        LgbenchError: There is none, or it is not sound.
    """
    from lgbench.data.drafts import open_suite

    with stdout_to_stderr():  # what the user's file prints
        found = open_suite(suite)
    if found.draft is not None:
        typer.echo(
            f"{found.name} is a draft suite ({found.draft.reference}): its results cannot be submitted.", err=True
        )
    return found


def open_named(suite: str | None) -> None:
    """Open the draft suite that the records in question are of, if the user names one."""
    if suite is not None:
        opened(suite)
