"""A submission with its scores."""

from __future__ import annotations

from dataclasses import dataclass

from lgbench.data.suites import SUITES, Suite
from lgbench.scoring.systems import OpenScores, TrainedScores, score_open, score_trained
from lgbench.submissions.checked import Submission
from lgbench.submissions.system import SystemRecord
from lgbench.submissions.tiers import Standing, Tier, standing
from lgbench.training.spec import Division


@dataclass(frozen=True, kw_only=True)
class SuiteScores:
    """A system on a suite.

    Attributes:
        system: The system's record.
        suite: The suite.
        parameters: As the submission has them.
        trained: The scores of its trained arms; None where it has no such run.
        untrained: The scores of its runs of arm `open`; None where it has none.
        standing: Division and tier of its runs of trained arms, and what they lack.
    """

    system: SystemRecord
    suite: Suite
    parameters: tuple[int, ...]
    trained: TrainedScores | None
    untrained: OpenScores | None
    standing: Standing

    @property
    def division(self) -> Division:
        """The division of its trained arms."""
        return self.standing.division

    @property
    def tier(self) -> Tier:
        """The tier of its trained arms."""
        return self.standing.tier


def score_submission(submission: Submission) -> tuple[SuiteScores, ...]:
    """The scores of a submission on every suite that it has runs of, in the order of the suites."""
    scores = []
    for suite in SUITES:
        results = [run.result for run in submission.runs if run.result.suite == suite.name]
        if results:
            trained = score_trained(results, suite)
            scores.append(
                SuiteScores(
                    system=submission.system,
                    suite=suite,
                    parameters=submission.parameters,
                    trained=trained if trained.groups else None,
                    untrained=score_open(results, suite),
                    standing=standing(submission, suite),
                )
            )
    return tuple(scores)
