"""Errors that tell a user what to change."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class LgbenchError(Exception):
    """Something the user can mend. The message is a sentence that says what was given, what is valid and what to do."""


class FolderTakenError(LgbenchError):
    """A folder that holds another run, or that another process writes to: nothing was done in it."""


class FolderInUseError(FolderTakenError):
    """A folder that another process writes to at this moment."""


class DamagedRunError(LgbenchError):
    """A run that cannot go on, for a file in its folder is damaged."""


class DivergedError(LgbenchError):
    """A run whose loss or weights are no longer numbers."""


class DraftNotOpenError(LgbenchError, ValueError):
    """A record is of a draft suite that this process has not opened. A record's validators may raise it."""


class UnknownNameError(LgbenchError, ValueError):
    """A name that does not exist, with the valid ones and the nearest. A record's validators may raise it.

    Args:
        kind: What the name should be, as a singular noun ("task", "suite").
        given: What was given.
        valid: The names that exist, in the order to show them.
    """

    def __init__(self, kind: str, given: object, valid: Iterable[object]) -> None:
        self._given = kind, given, names = (kind, given, [str(name) for name in valid])
        nearest = difflib.get_close_matches(str(given), names, n=1, cutoff=0.5)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        article = "an" if kind[0] in "aeiou" else "a"
        super().__init__(f"{given!r} is not {article} {kind}.{hint} Valid: {', '.join(names)}.")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given  # a process that works for another one hands its errors over


class ModelError(LgbenchError):
    """The user's model broke the contract or raised.

    Args:
        message: The sentence to show.
        user_traceback: The frames inside the user's own code, formatted; empty where the model raised nothing.
    """

    def __init__(self, message: str, *, user_traceback: str = "") -> None:
        super().__init__(message)
        self.user_traceback = user_traceback
