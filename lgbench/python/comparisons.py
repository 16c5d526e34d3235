"""What `compare` returns: a line when printed, frames, Markdown, and pictures in a notebook."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lgbench.leaderboard.svg import OF_THE_PAGE, draw
from lgbench.python.html import arms_picture, parts_html
from lgbench.python.markdown import parts_markdown
from lgbench.results.schema import Result
from lgbench.scoring.comparison import GroupScores
from lgbench.scoring.contest import Contest
from lgbench.scoring.contest_frames import ContestRows, contest_frame, contest_record
from lgbench.scoring.contest_report import contest_parts, duel_lines
from lgbench.scoring.contestants import Field
from lgbench.scoring.display import percent
from lgbench.scoring.frames import comparison_frame
from lgbench.scoring.styles import SYSTEM_STYLES
from lgbench.scoring.systems import TrainedScores
from lgbench.scoring.verdicts import comparison_parts, comparison_record
from lgbench.util.tables import Table
from lgbench.util.text import plain

if TYPE_CHECKING:
    import pandas as pd

_LONGEST = 300
_LONGEST_IN_PICTURE = 24


class SystemComparison:
    """Systems against each other.

    Args:
        contests: One for each suite, of trained arms and of `open`.
        left_out: What was given and does not count, a clause each.
    """

    def __init__(self, contests: Sequence[Contest], left_out: Sequence[str] = ()) -> None:
        self.contests = tuple(contests)
        self.left_out = tuple(left_out)

    @property
    def verdicts(self) -> list[str]:
        """The verdict on each pair, a sentence each."""
        return [duel_lines(contest, duel)[0] for contest in self.contests for duel in contest.duels]

    def parts(self) -> list[Table | str]:
        """The report as tables and lines, verdicts first."""
        parts: list[Table | str] = []
        for contest in self.contests:
            if len(self.contests) > 1:
                parts += [*([""] if parts else []), f"Suite {contest.suite.name}, arm {contest.arm}", ""]
            parts += contest_parts(contest)
        return parts

    def to_frame(self, rows: ContestRows = "differences") -> pd.DataFrame:
        """The comparison as a pandas frame.

        Args:
            rows: `differences`: a row for each pair and group, and for the mean, which has the verdict. `systems`: for
                each system and group. `lengths`: for each system, group and length.

        Raises:
            UnknownNameError: There are no such rows.
        """
        return contest_frame(self.contests, rows)

    def to_dict(self) -> dict[str, Any]:
        """What `lgbench compare --json` prints."""
        return {"contests": [contest_record(each) for each in self.contests], "left_out": list(self.left_out)}

    def to_markdown(self) -> str:
        """The report in Markdown."""
        return parts_markdown(self.parts())

    def __repr__(self) -> str:
        """In a line."""
        return f"<Comparison: {plain(' '.join(self.verdicts), limit=_LONGEST)}>"

    def _repr_html_(self) -> str:
        pictures = [_picture(contest, field) for contest in self.contests for field in contest.fields]
        left = "".join(f"<p>Left out: {html.escape(plain(each))}.</p>" for each in self.left_out)
        return parts_html(self.parts()) + "".join(pictures) + left


def _picture(contest: Contest, field: Field) -> str:
    """The systems by length, in a group or a main task."""
    drawn = [
        (entry.curve.renamed(plain(name, limit=_LONGEST_IN_PICTURE)), SYSTEM_STYLES[number % len(SYSTEM_STYLES)])
        for number, (name, entry) in enumerate(field.entries.items())
    ]
    where = field.name if field.group is None else f"{field.name}, arm {contest.arm}"
    title = f"{where}: exact match of {field.task} in %"
    shares = "; ".join(f"{each.label}: {', '.join(map(percent, each.mean))}" for each, _ in drawn)
    return draw(drawn, title=title, description=f"{title}. {shares}", group=field.group, paper=OF_THE_PAGE)


def _results_by_arm(scores: GroupScores) -> dict[str, list[Result]]:
    return {arm: [seed.result for seed in of_arm.seeds] for arm, of_arm in scores.arms.items()}


class ArmComparison:
    """The arms of one system.

    Args:
        system: Its name.
        scores: On each suite.
        left_out: What was given and does not count, a clause each.
    """

    def __init__(self, system: str, scores: Sequence[TrainedScores], left_out: Sequence[str] = ()) -> None:
        self.system = system
        self.scores = tuple(scores)
        self.left_out = tuple(left_out)

    @property
    def verdicts(self) -> dict[str, str]:
        """What can be said of transfer, in a word or a few, by group."""
        return {group: verdict.word for each in self.scores for group, verdict in each.verdicts.items()}

    def parts(self) -> list[Table | str]:
        """The report as tables and lines, verdicts first."""
        parts: list[Table | str] = []
        for scores in self.scores:
            if len(self.scores) > 1:
                parts += [*([""] if parts else []), f"Suite {scores.suite.name}", ""]
            parts += comparison_parts(scores)
        return parts

    def to_frame(self) -> pd.DataFrame:
        """The comparison as a pandas frame: a row for each suite, group and arm."""
        import pandas as pd

        return pd.concat([comparison_frame(each) for each in self.scores], ignore_index=True)

    def to_dict(self) -> list[dict[str, Any]]:
        """What `lgbench compare --json` prints."""
        return [group for scores in self.scores for group in comparison_record(scores)]

    def to_markdown(self) -> str:
        """The report in Markdown."""
        return parts_markdown(self.parts())

    def __repr__(self) -> str:
        """In a line."""
        verdicts = ", ".join(f"{group} {word}" for group, word in self.verdicts.items())
        return f"<Comparison of the arms of {plain(self.system, limit=_LONGEST)}: {verdicts}>"

    def _repr_html_(self) -> str:
        pictures = [
            arms_picture(_results_by_arm(each), scores.suite, each.group)
            for scores in self.scores
            for each in scores.groups
        ]
        left = "".join(f"<p>Left out: {html.escape(plain(each))}.</p>" for each in self.left_out)
        return parts_html(self.parts()) + "".join(pictures) + left
