"""How far a system's results are verified: its tier, its division, and what it lacks. Definitions: docs/rules.md."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.recorded import missing_for_recorded
from lgbench.training.spec import Division


class Tier(IntEnum):
    """How far results are verified, ascending: what is higher stands above what is lower, whatever the scores.

    Attributes:
        SELF_REPORTED: The counts follow from the replies. Nothing shows that a model gave these.
        RECORDED: Every run has the record of its training, and the records keep the rules.
        AUDITED: A maintainer had the weights answer fresh examples, which they got right as often.
        REPRODUCED: A maintainer trained a run of each arm again, and it came out the same.
    """

    SELF_REPORTED = 0
    RECORDED = 1
    AUDITED = 2
    REPRODUCED = 3

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    @property
    def is_verified(self) -> bool:
        """Whether a maintainer saw the model itself."""
        return self >= Tier.AUDITED


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a system stands with its runs of some arms.

    Attributes:
        division: `open` where any of its runs is, as far as training records say.
        tier: How far they are verified.
        missing: What they lack for the next tier, in sentences; empty in the highest.
    """

    division: Division
    tier: Tier
    missing: tuple[str, ...] = ()


def standing(submission: Submission, suite: Suite) -> Standing:
    """Where a system stands in a suite with its runs of trained arms."""
    runs = trained_runs(submission, suite)
    division: Division = "open" if any(run.training and run.training.division == "open" for run in runs) else "closed"
    missing = tuple(missing_for_recorded(runs, suite))
    if missing:
        return Standing(division=division, tier=Tier.SELF_REPORTED, missing=missing)
    return Standing(division=division, tier=Tier.RECORDED)


def trained_runs(submission: Submission, suite: Suite) -> tuple[SubmittedRun, ...]:
    """The runs of a system in a suite that are of a trained arm."""
    return tuple(run for run in submission.runs if run.result.suite == suite.name and run.result.arm != OPEN_ARM)
