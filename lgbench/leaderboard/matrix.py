"""Systems by groups: in each cell a small curve, the score, the gain and the verdict; of arm `open`, by main tasks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from lgbench.data.suites import Suite
from lgbench.leaderboard.markdown import horizons, points, wide_table
from lgbench.leaderboard.order import Entry
from lgbench.leaderboard.pictures import SMALL_END, small_path
from lgbench.leaderboard.rows import link, page
from lgbench.leaderboard.standings import Opened
from lgbench.scoring.display import NONE, percent
from lgbench.scoring.seen import Word

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


def group_matrix(suite: Suite, entries: Sequence[Entry]) -> list[str]:
    """A row for each trained system and a column for each group of the suite, and what a cell holds."""
    drawn = {arm for entry in entries for group in entry.scores.groups for arm in group.arms}
    colors = ", ".join(f"{color} `{arm}`" for arm, color in _COLORS.items() if arm in drawn)
    legend = (
        f"Each cell, from above: the main task's accuracy by length, mean over seeds ({colors}; the transfer zone is "
        "shaded), the group score, the transfer gain and [the verdict](../docs/leaderboard.md#verdicts)."
    )
    return [legend, wide_table([_row(suite, entry) for entry in entries])]


def _row(suite: Suite, entry: Entry) -> dict[str, str]:
    system, groups = entry.on_suite.system, {scores.group.name: scores for scores in entry.scores.groups}
    row = {"system": link(system)}
    for group in suite.groups:
        if (scores := groups.get(group.name)) is None:
            row[group.name] = NONE
            continue
        parts = [
            _curve(entry, group.name),
            percent(scores.score.value) if scores.score else NONE,
            points(scores.transfer_gain.value) if scores.transfer_gain else NONE,
            SHORT_WORDS[entry.scores.verdicts[group.name].word],
        ]
        row[group.name] = "<br>".join(parts)
    return row


def open_matrix(suite: Suite, entries: Sequence[Opened]) -> list[str]:
    """A row for each system of arm `open` and a column for each main task, and what a cell holds."""
    legend = (
        "Each cell, from above: the accuracy by length, with the transfer zone shaded; the accuracy in that zone; the "
        "lengths up to which at least 90 % and 50 % of the replies are right."
    )
    return [legend, wide_table([_open_row(suite, entry) for entry in entries])]


def _open_row(suite: Suite, entry: Opened) -> dict[str, str]:
    row = {"system": link(entry.on_suite.system)}
    for task in suite.main_tasks:
        accuracy = percent(entry.scores.transfer(task))
        of_task = horizons(entry.scores.horizons_90[task], entry.scores.horizons_50[task])
        row[task] = "<br>".join([_curve(entry, f"open-{task}", "open"), accuracy, of_task])
    return row


def _curve(entry: Entry | Opened, name: str, section: str = "") -> str:
    """The small picture, which leads to the section with the large one."""
    system, suite = entry.on_suite.system, entry.on_suite.suite
    words = f"{system.name} on {name.removeprefix('open-')} by length"
    return f"[![{words}]({small_path(system, suite, name)})]({page(system, f'{suite.name}-{section or name}')})"
