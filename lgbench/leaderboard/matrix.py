"""Systems by groups: in each cell a small curve, the score, the gain and the verdict; of arm `open`, by main tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lgbench.leaderboard.markdown import horizons, points, wide_table
from lgbench.leaderboard.parts import OpenEntry, Row, TrainedEntry
from lgbench.leaderboard.pictures import SMALL_END, small_path
from lgbench.leaderboard.rows import link, page
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.display import NONE, percent
from lgbench.scoring.seen import Word
from lgbench.scoring.systems import OpenScores, TrainedScores

SHORT_WORDS: Mapping[Word, str] = {
    "seen": "**seen**",
    "consistent with transfer": "consistent",
    "not seen": "not seen",
    "too few seeds": "few seeds",
    "not testable": "not testable",
}
_COLORS = {
    "transfer": "blue",
    "main_only": "grey",
    "control": "dashed orange",
    "short_aux": "dashed purple",
    "direct": "green",
}


def small_pictures(page: str) -> set[str]:
    """The small pictures that a page shows, by their paths."""
    return set(re.findall(rf"\((systems/[^)]*{re.escape(SMALL_END)})\)", page))


def group_matrix(entries: Sequence[TrainedEntry]) -> list[str]:
    """A row for each trained system and a column for each group of the suite, and what a cell holds."""
    drawn = {arm for entry in entries for arm in entry.part.arms}
    colors = ", ".join(f"{color} `{arm}`" for arm, color in _COLORS.items() if arm in drawn)
    legend = (
        "Each cell shows the main task's accuracy by length, the group score, the transfer gain and "
        f"[the verdict](../docs/leaderboard.md#verdicts). The curves are means over seeds ({colors}), and the transfer "
        "zone is shaded."
    )
    return [legend, wide_table([entry.part.group_row for entry in entries])]


def group_row(on_suite: SuiteScores, trained: TrainedScores) -> Row:
    """The row of a trained system."""
    groups = {scores.group.name: scores for scores in trained.groups}
    row = {"system": link(on_suite.system)}
    for group in on_suite.suite.groups:
        if (scores := groups.get(group.name)) is None:
            row[group.name] = NONE
            continue
        parts = [
            _curve(on_suite, group.name),
            percent(scores.score.value) if scores.score else NONE,
            points(scores.transfer_gain.value) if scores.transfer_gain else NONE,
            SHORT_WORDS[trained.verdicts[group.name].word],
        ]
        row[group.name] = "<br>".join(parts)
    return row


def open_matrix(entries: Sequence[OpenEntry]) -> list[str]:
    """A row for each system of arm `open` and a column for each main task, and what a cell holds."""
    legend = (
        "Each cell shows the accuracy by length, with the transfer zone shaded, the accuracy in that zone, and the "
        "greatest lengths up to which at least 90 % and 50 % of the replies are right."
    )
    return [legend, wide_table([entry.part.task_row for entry in entries])]


def task_row(on_suite: SuiteScores, scores: OpenScores) -> Row:
    """The row of a system of arm `open`."""
    row = {"system": link(on_suite.system)}
    for task in on_suite.suite.main_tasks:
        accuracy = percent(scores.transfer(task))
        of_task = horizons(scores.horizons_90[task], scores.horizons_50[task])
        row[task] = "<br>".join([_curve(on_suite, f"open-{task}", "open"), accuracy, of_task])
    return row


def _curve(on_suite: SuiteScores, name: str, section: str = "") -> str:
    """The small picture, which leads to the section with the large one."""
    system, suite = on_suite.system, on_suite.suite
    words = f"{system.name} on {name.removeprefix('open-')} by length"
    return f"[![{words}]({small_path(system, suite, name)})]({page(system, f'{suite.name}-{section or name}')})"
