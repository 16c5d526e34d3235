"""Derives the part of the board of one system from its submission alone."""

from __future__ import annotations

from collections.abc import Sequence

from lgbench.leaderboard.cells import cell_rows
from lgbench.leaderboard.content import open_record, system_info, trained_record
from lgbench.leaderboard.matrix import group_row, task_row
from lgbench.leaderboard.order import rank
from lgbench.leaderboard.pages import system_page
from lgbench.leaderboard.parts import OpenPart, Part, Score, Tables, TrainedPart, pack
from lgbench.leaderboard.pictures import system_pictures
from lgbench.leaderboard.rows import main_row, more_row, open_row, page
from lgbench.leaderboard.scored import SuiteScores, score_submission
from lgbench.leaderboard.standings import open_score
from lgbench.scoring.ranking import Spread
from lgbench.scoring.systems import OpenScores, TrainedScores
from lgbench.submissions.checked import Submission


def derive_part(submission: Submission) -> Part:
    """A system's part of the board."""
    scores = score_submission(submission)
    pictures = [picture for on_suite in scores for picture in system_pictures(on_suite)]
    files = {page(submission.system): system_page(submission, scores, pictures)}
    for picture in pictures:
        files[f"systems/{picture.path}"] = picture.svg()
        files |= {small.path: small.svg() for small in picture.small}
    return pack(_tables(submission, scores, tuple(files)), files, cell_rows(submission))


def derive_data(submission: Submission, scores: Sequence[SuiteScores]) -> Part:
    """As `derive_part`, without the system's files: for the board as data."""
    return pack(_tables(submission, scores, ()), {}, cell_rows(submission))


def _tables(submission: Submission, scores: Sequence[SuiteScores], paths: tuple[str, ...]) -> Tables:
    return Tables(
        system=submission.system.name,
        info=system_info(submission),
        trained=tuple(_trained(each, each.trained) for each in scores if each.trained is not None),
        opened=tuple(_opened(each, each.untrained) for each in scores if each.untrained is not None),
        paths=paths,
    )


def _trained(on_suite: SuiteScores, scores: TrainedScores) -> TrainedPart:
    own = rank(on_suite, scores)
    return TrainedPart(
        system=own.name,
        suite=on_suite.suite.name,
        division=own.division,
        tier=own.tier,
        coverage=own.coverage,
        covered=own.covered,
        has_few_seeds=own.has_few_seeds,
        score=None if own.score is None else _score(own.score),
        main_row=main_row(on_suite, scores),
        more_row=more_row(on_suite, scores),
        group_row=group_row(on_suite, scores),
        arms=tuple(dict.fromkeys(arm for group in scores.groups for arm in group.arms)),
        record=trained_record(on_suite, scores),
    )


def _score(spread: Spread) -> Score:
    is_finite = spread.degrees != float("inf")
    return Score(
        value=spread.value,
        variance=float(spread.variance),
        finite_degrees=spread.degrees if is_finite else None,
    )


def _opened(on_suite: SuiteScores, scores: OpenScores) -> OpenPart:
    return OpenPart(
        system=on_suite.system.name,
        suite=on_suite.suite.name,
        score=open_score(scores),
        runs=len(scores.results),
        row=open_row(on_suite, scores),
        task_row=task_row(on_suite, scores),
        record=open_record(on_suite, scores),
    )
