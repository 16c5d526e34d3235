"""The problems of a check: the first thousand are kept, and the others are counted."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lgbench.submissions.checked import FileProblem
from lgbench.util.records import InvalidFileError, Problem

MAX_REPORTED = 1000
"""Problems of all files. Each costs memory, and nobody reads a report of more."""


class Report:
    """Collects problems. A hostile tree may have millions.

    Attributes:
        count: Number of problems, with those that were not kept.
    """

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[FileProblem] = []

    def add(self, path: Path, field: str, message: str) -> None:
        """Add a problem."""
        self.count += 1
        if len(self._kept) < MAX_REPORTED:
            self._kept.append(FileProblem(path, Problem(field, message)))

    def add_all(self, path: Path, problems: Iterable[Problem]) -> None:
        """Add the problems of one file."""
        for problem in problems:
            self.add(path, *problem)

    def add_error(self, error: InvalidFileError) -> None:
        """Add the problems of a file that cannot be read."""
        self.add_all(error.path, error.problems)

    def merge(self, other: Report) -> None:
        """Append the problems of another report."""
        left = MAX_REPORTED - len(self._kept)
        self._kept += other._kept[:left]
        self.count += other.count

    @property
    def problems(self) -> tuple[FileProblem, ...]:
        """The problems that were kept, and a last one with the number of the others."""
        if self.count == len(self._kept):
            return tuple(self._kept)
        more = Problem("", f"and {self.count - len(self._kept):,} more problems, of this file and of others.")
        return (*self._kept, FileProblem(self._kept[-1].path, more))
