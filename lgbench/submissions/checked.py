"""What a check of submissions finds: systems whose counts follow from their replies, and problems."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lgbench.results.schema import Result
from lgbench.submissions.audit_record import AuditRecord
from lgbench.submissions.declaration import Declaration, WeightsRecord
from lgbench.submissions.likeness import WrongReplies
from lgbench.submissions.system import SystemRecord
from lgbench.training.record import TrainingRecord
from lgbench.util.records import Problem
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    from lgbench.submissions.summary import SystemSummary


class FileProblem(NamedTuple):
    """A problem and the file or folder that has it."""

    path: Path
    problem: Problem

    def __str__(self) -> str:
        return f"{plain(self.path, limit=LONGEST_PATH)}: {self.problem}"


class SubmittedRun(NamedTuple):
    """A run whose counts follow from its replies.

    Attributes:
        folder: The name of its folder.
        result: The result.
        wrong: What is compared of its wrong replies with those of other runs; None if the run has problems.
        is_repeated: Whether it repeats another run of its system, so that it was not re-scored.
        training: The record of its training, if that was submitted.
        weights: Where its weights can be had, if that was submitted.
    """

    folder: str
    result: Result
    wrong: WrongReplies | None = None
    is_repeated: bool = False
    training: TrainingRecord | None = None
    weights: WeightsRecord | None = None


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A system with its runs, all of them checked.

    Attributes:
        system: Its record.
        runs: Its runs, by folder.
        declaration: How its settings were chosen, if it says so.
        audits: What maintainers found.
    """

    system: SystemRecord
    runs: tuple[SubmittedRun, ...]
    declaration: Declaration | None = None
    audits: tuple[AuditRecord, ...] = ()

    @property
    def parameters(self) -> tuple[int, ...]:
        """The numbers of trainable parameters: what the record states, or else what the runs counted. Ascending."""
        stated = self.system.parameters
        counts = {run.result.system.parameters for run in self.runs} if stated is None else {stated}
        return tuple(sorted(count for count in counts if count is not None))


class Checked(NamedTuple):
    """The outcome of a check.

    Attributes:
        submissions: The systems without any problem; none where they are summarized.
        systems: Number of systems that were found.
        runs: Number of runs that were found.
        problems: All of them, in the order of files; those between systems last.
        alarms: Signs that a run is not of a trained model, or a copy. They are for reviewers, and refuse nothing.
        summaries: Summaries of the systems without any problem, if they are summarized.
    """

    submissions: tuple[Submission, ...]
    systems: int
    runs: int
    problems: tuple[FileProblem, ...]
    alarms: tuple[FileProblem, ...] = ()
    summaries: tuple[SystemSummary, ...] = ()
