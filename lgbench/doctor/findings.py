"""What a check found, and the time that checks may take."""

from __future__ import annotations

import time
from typing import Literal, NamedTuple

TIME_LIMIT = 60.0
"""Seconds that all checks together should take."""

State = Literal["ok", "warning", "problem", "untried"]


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        check: What was looked at.
        state: `warning`: it works, but read this. `problem`: results would be wrong or missing. `untried`: there was no
            time to look.
        detail: What was seen.
        advice: What to change; empty where nothing needs it.
    """

    check: str
    state: State
    detail: str
    advice: str = ""


class Clock:
    """Says whether there is time for a check.

    Args:
        seconds: What all checks together may take.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.perf_counter() + seconds

    def has(self, seconds: float) -> bool:
        """Whether something that takes so long would end in time."""
        return time.perf_counter() + seconds <= self._end
