"""What `lgbench validate` says of a system without problems. It is kept in the place of the system's results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from lgbench.data.suites import SUITES
from lgbench.submissions.checked import Submission
from lgbench.submissions.copies import is_perfect
from lgbench.submissions.forensics import Alarm, alarms
from lgbench.submissions.tiers import Standing, standing, trained_runs


class PerfectRun(NamedTuple):
    """A run whose replies are all right, by the digest of its replies."""

    replies_sha256: str
    run: str


class SystemSummary(NamedTuple):
    """A system, about a hundredth of its results.

    Attributes:
        name: The system.
        standings: Division, tier and what is missing for the next one, with each suite that it has trained runs of.
        alarms: What reviewers should look at.
        perfect: Its runs without a wrong reply.
    """

    name: str
    standings: tuple[tuple[str, Standing], ...]
    alarms: tuple[Alarm, ...]
    perfect: tuple[PerfectRun, ...]


def summarize(submission: Submission) -> SystemSummary:
    """What is said of a system."""
    return SystemSummary(
        name=submission.system.name,
        standings=tuple(
            (suite.name, standing(submission, suite)) for suite in SUITES if trained_runs(submission, suite)
        ),
        alarms=tuple(alarms(submission)),
        perfect=tuple(
            PerfectRun(run.result.replies_sha256, run.folder) for run in submission.runs if is_perfect(run.result)
        ),
    )


def perfect_twins(summaries: Iterable[SystemSummary]) -> Iterator[str]:
    """Sentences on runs that give the same replies, all of them right. They may well be of two models."""
    alike: dict[str, list[str]] = {}
    for summary in summaries:
        for replies, run in summary.perfect:
            alike.setdefault(replies, []).append(f"{summary.name}/{run}")
    for first, *others in alike.values():
        if others:
            more = f" and {len(others) - 1} more" if len(others) > 1 else ""
            yield f"all replies of {first} and {others[0]}{more} are right, so none shows whether one is a copy."
