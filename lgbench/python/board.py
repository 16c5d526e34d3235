"""The leaderboard as a frame, and in a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lgbench.data.suites import SUITES, Suite
from lgbench.leaderboard.markdown import estimated
from lgbench.leaderboard.order import Entry
from lgbench.leaderboard.scored import SuiteScores, score_submission
from lgbench.leaderboard.standings import Standings, list_systems
from lgbench.python.html import table_html
from lgbench.python.progress import count_bar
from lgbench.scoring.display import percent
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

    def _repr_html_(self) -> str:
        return "".join(each for suite in SUITES for each in _tables(list_systems(suite, self.scores)))


def _tables(listed: Standings) -> Iterator[str]:
    """The systems of a suite in the board's order: those trained under arms, and those evaluated under `open`."""
    suite = listed.suite
    if listed.trained:
        columns = ("system", "division", "tier", "mean score", "transfer gain", *(each.name for each in suite.groups))
        rows = [_trained_row(entry, suite) for entry in listed.trained]
        caption = (
            f"{suite.name}: transfer-zone accuracy of the main tasks in %, as the mean over the groups that a system "
            "covers and by group; transfer gain in points; 95 % intervals"
        )
        yield table_html(columns, rows, caption=caption, text=3)
    if listed.opened:
        tasks = len(suite.main_tasks)
        rows = [
            [each.on_suite.system.name, estimated(each.scores.score, of=tasks, mark_one_seed=False)]
            for each in listed.opened
        ]
        yield table_html(("system", "open score"), rows, caption=f"{suite.name}, evaluated under open, in %")


def _trained_row(entry: Entry, suite: Suite) -> list[str]:
    scores, on_suite = entry.scores, entry.on_suite
    by_group = {each.group.name: each.score for each in scores.covered}
    scored = [by_group.get(group.name) for group in suite.groups]
    return [
        on_suite.system.name,
        on_suite.division,
        str(on_suite.tier),
        estimated(scores.score, of=len(scores.covered)),
        estimated(scores.transfer_gain, of=len(scores.covered), signed=True),
        *(percent(None if each is None else each.value) for each in scored),
    ]


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


def load_board(folder: str | Path = "submissions", *, progress: bool | None = None) -> Board:
    """The leaderboard of a folder of submissions, every result of which is re-scored.

    Args:
        folder: The folder.
        progress: Whether to show a bar; None shows it in a notebook and in a terminal.

    Raises:
        LgbenchError: The folder does not exist, or something is wrong with a submission, with all problems.
    """
    if not Path(folder).is_dir():
        raise LgbenchError(f"There is no folder {str(folder)!r}. Name the folder of submissions of a clone.")
    with count_bar(progress, unit="runs") as report:
        submissions = read_submissions(Path(folder), report=report)
    if not submissions:
        raise LgbenchError(f"{str(folder)!r} holds no system.")
    return Board(tuple(scores for submission in submissions for scores in score_submission(submission)))
