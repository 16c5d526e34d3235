"""What `system.json` holds: who made a system, and how."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from lgbench.results.schema import Link, Parameters
from lgbench.submissions.names import check_portable
from lgbench.submissions.visible_text import check_visible

SUBMISSIONS_FOLDER = "submissions"
MAX_SYSTEM_BYTES = 100_000
"""A larger `system.json` is not read."""
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MAX_NAME = 60


def check_system_name(name: str) -> str:
    """The name, if a system may be called that.

    Raises:
        ValueError: It may not; the message says what may.
    """
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        raise ValueError(
            f"a system's name is of lower-case letters, digits and single hyphens between them, at most {_MAX_NAME} "
            "characters, like 'my-system-2'"
        )
    if name == SUBMISSIONS_FOLDER:
        raise ValueError(f"no system may be called {SUBMISSIONS_FOLDER!r}, like the folder that holds them all")
    return check_portable(name)


def _one_line(text: str) -> str:
    if not text.strip():
        raise ValueError("fill this in")
    return check_visible(text)


def _paragraphs(text: str) -> str:
    return check_visible(text, allowed="\n")


def _someone(authors: tuple[str, ...]) -> tuple[str, ...]:
    if not authors:
        raise ValueError("name at least one")
    return authors


def _unused(value: object) -> None:
    if value is not None:
        raise ValueError("leave this null: what maintainers verify is recorded in audits/")


Line = Annotated[str, StringConstraints(max_length=300), AfterValidator(_one_line)]


class SystemRecord(BaseModel):
    """A system: the content of `system.json`.

    Attributes:
        name: The name of the folder, and on the leaderboard.
        description: What it is, in one line.
        authors: Who made it.
        link: A paper or repository; null for none.
        licence: Under which the results may be used, and the model if it is published.
        parameters: The number of the model's trainable parameters; null where it is not known.
        training_notes: How it was trained, where it differs from the reference recipe.
        reproduced_by: Always null, and may be missing. The first systems have the field; `audits/` took its place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, AfterValidator(check_system_name)]
    description: Line
    authors: Annotated[tuple[Line, ...], Field(max_length=50), AfterValidator(_someone)]
    link: Link | None
    licence: Line
    parameters: Parameters | None
    training_notes: Annotated[str, StringConstraints(max_length=4000), AfterValidator(_paragraphs)]
    reproduced_by: Annotated[None, BeforeValidator(_unused)] = None
