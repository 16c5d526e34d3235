"""The problems of a check: the first thousand are kept, and of the others there is a number."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lgbench.submissions.checked import FileProblem
from lgbench.util.records import InvalidFileError, Problem

MAX_REPORTED = 1000
"""Problems of all files. Each costs memory, and nobody reads a report of more."""


class Report:
    """Gathers problems, of which a hostile tree may have millions.

    Attributes:
        count: How many there were.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[FileProblem] = []

    def add(self, path: Path, field: str, message: str) -> None:
        """Take in a problem."""
        self.count += 1
        if len(self._kept) < MAX_REPORTED:
            self._kept.append(FileProblem(path, Problem(field, message)))

    def add_all(self, path: Path, problems: Iterable[Problem]) -> None:
        """Take in the problems of one file."""
        for problem in problems:
            self.add(path, *problem)

    def add_error(self, error: InvalidFileError) -> None:
        """Take in the problems of a file that cannot be read."""
        self.add_all(error.path, error.problems)

    def merge(self, other: Report) -> None:
        """Take in those of another report, after its own."""
        left = MAX_REPORTED - len(self._kept)
        self._kept += other._kept[:left]
        self.count += other.count

    @property
    def problems(self) -> tuple[FileProblem, ...]:
        """Those that are kept, and a last one for how many more there are."""
        if self.count == len(self._kept):
            return tuple(self._kept)
        more = Problem("", f"and {self.count - len(self._kept):,} more problems, of this file and of others.")
        return (*self._kept, FileProblem(self._kept[-1].path, more))
