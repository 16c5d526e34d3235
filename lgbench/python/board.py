"""The leaderboard as a frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgbench.leaderboard.scored import SuiteScores, score_submission
from lgbench.scoring.frames import comparison_frame
from lgbench.scoring.measures import Interval
from lgbench.submissions.checking import read_submissions
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    import pandas as pd


class Board:
    """The submitted systems with their scores.

    Args:
        scores: Of every system on every suite that it has runs of.
    """

    def __init__(self, scores: tuple[SuiteScores, ...]) -> None:
        self.scores = scores

    def __repr__(self) -> str:
        """In a line."""
        names = dict.fromkeys(each.system.name for each in self.scores)
        return f"<Leaderboard of {len(names)} system{'' if len(names) == 1 else 's'}: {', '.join(names)}>"

    def to_frame(self) -> pd.DataFrame:
        """What the arms of the systems reached: a row for each suite, system, group and arm.

        Raises:
            LgbenchError: No system has a complete run of a trained arm.
        """
        import pandas as pd

        frames = [_labelled(each) for each in self.scores if each.trained is not None]
        if not frames:
            raise LgbenchError("No system here has a complete run of a trained arm, so the board has no rows.")
        return pd.concat(frames, ignore_index=True)

    def open_frame(self) -> pd.DataFrame:
        """The systems evaluated under `open`: a row for each suite, system and task, with its horizons.

        Raises:
            LgbenchError: There is no such system.
        """
        from lgbench.scoring.frames import frame

        rows = [row for each in self.scores for row in _open_rows(each)]
        if not rows:
            raise LgbenchError("No system here was evaluated under the arm open.")
        return frame(iter(rows))


def _labelled(scores: SuiteScores) -> pd.DataFrame:
    assert scores.trained is not None
    frame = comparison_frame(scores.trained)
    frame.insert(1, "system", scores.system.name)
    return frame


def _open_rows(scores: SuiteScores) -> Iterator[dict[str, Any]]:
    if (untrained := scores.untrained) is None:
        return
    score = untrained.score
    for task in scores.suite.tasks:
        of_90, of_50 = untrained.horizons_90[task.name], untrained.horizons_50[task.name]
        yield {
            "suite": scores.suite.name,
            "system": scores.system.name,
            "seeds": len(untrained.results),
            "score": None if score is None else score.value,
            **_bounds(None if score is None else score.interval),
            "task": task.name,
            "horizon_90": None if of_90 is None else of_90.length,
            "horizon_50": None if of_50 is None else of_50.length,
        }


def _bounds(interval: Interval | None) -> dict[str, float | None]:
    low, high = (None, None) if interval is None else interval
    return {"low": low, "high": high}


def load_board(folder: str | Path = "submissions") -> Board:
    """The leaderboard of a folder of submissions, every result of which is re-scored.

    Raises:
        LgbenchError: The folder does not exist, or something is wrong with a submission, with all problems.
    """
    if not Path(folder).is_dir():
        raise LgbenchError(f"There is no folder {str(folder)!r}. Name the folder of submissions of a clone.")
    submissions = read_submissions(Path(folder))
    if not submissions:
        raise LgbenchError(f"{str(folder)!r} holds no system.")
    return Board(tuple(scores for submission in submissions for scores in score_submission(submission)))
