"""The front page: the ranked systems of each suite, and their results in every group."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from lgbench.data.suites import Suite, load_suite
from lgbench.leaderboard.markdown import (
    COUNT,
    GENERATED,
    folded,
    notes,
    table,
)
from lgbench.leaderboard.matrix import group_matrix, open_matrix
from lgbench.leaderboard.order import Coverage, Section
from lgbench.leaderboard.parts import Listing, OpenEntry, TrainedEntry
from lgbench.leaderboard.rows import FEW_SEEDS
from lgbench.scoring.seen import ENOUGH_SEEDS, FEWEST_SEEDS

_EMPTY = "No system has been submitted yet. [Submit the first](../docs/submitting.md)."
_INTRODUCTION = """A main task is trained on short inputs only, and a related, auxiliary task on longer ones. Does the
model then solve the main task at the longer lengths, too? The *transfer score* says how well it does, and the *transfer
gain* how much the auxiliary task adds. Accuracies are exact match in %, and gains are in points, both with 95 %
intervals.

[How to read this page](../docs/leaderboard.md) · [how to submit](../docs/submitting.md) · [the rules](../docs/rules.md)
· as data: [board.json](board.json), and every count in [cells.csv](cells.csv)"""
_COVERAGES: Mapping[Coverage, str] = {
    "ranked": "",
    "few_seeds": f", with fewer than {ENOUGH_SEEDS} seeds",
    "fewer_groups": ", in fewer groups",
}
MOST_ROWS = 100
"""Rows of a table. A page of a thousand systems is more than a repository shows."""
_FEW_SEEDS_NOTE = f"{FEW_SEEDS} Fewer than {FEWEST_SEEDS} transfer seeds in some group"


def front_page(listings: Sequence[Listing]) -> str:
    """The text of `leaderboard/README.md`.

    Args:
        listings: The systems of every suite that has some.
    """
    parts = [GENERATED, "# Leaderboard", _INTRODUCTION if listings else _EMPTY]
    for listed in listings:
        parts += [f"## {listed.suite}", *_trained_sections(listed), *_matrix_section(listed), *_open_section(listed)]
    return "\n\n".join(parts) + "\n"


def _trained_sections(listed: Listing) -> list[str]:
    suite = load_suite(listed.suite)
    return [part for section in listed.sections for part in _trained_section(section, suite)]


def _trained_section(section: Section[TrainedEntry], suite: Suite) -> list[str]:
    """The main table, the other figures in a folded table, and the meaning of the marks in both."""
    left = 3 if section.coverage == "ranked" else 2
    shown = section.entries[:MOST_ROWS]
    main = table([entry.main_row for entry in shown], left=left)
    more = folded("More figures", table([entry.part.more_row for entry in shown]))
    few_seeds_last = {entry.part.has_few_seeds for entry in section.entries} == {False, True}
    return [
        f"### {section_heading(section)}",
        *([explained] if (explained := explanation(section, suite)) else []),
        main,
        more,
        *_notes(main + more, few_seeds_last=few_seeds_last),
        *_left_out(section.entries),
    ]


def _left_out(entries: Sequence[object]) -> list[str]:
    """A sentence on systems that a table leaves out."""
    if len(entries) <= MOST_ROWS:
        return []
    return [f"These are the first {MOST_ROWS} of {len(entries):,} systems. [board.json](board.json) has all of them."]


def section_heading(section: Section[Any]) -> str:
    """The heading of a section."""
    verified = "verified" if section.is_verified else "unverified"
    return f"{section.division.capitalize()} division, {verified}{_COVERAGES[section.coverage]}"


def explanation(section: Section[Any], suite: Suite) -> str:
    """Why the systems of a section are not ranked; empty if they are."""
    if section.coverage == "few_seeds":
        return f"Not ranked: a ranked system has at least {ENOUGH_SEEDS} `transfer` seeds in every group."
    if section.coverage == "fewer_groups":
        return (
            f"Not ranked: a transfer score is over all {len(suite.groups)} groups. These means are over the groups in "
            "which a system has runs of both `transfer` and `main_only`."
        )
    return ""


def _notes(text: str, *, few_seeds_last: bool) -> list[str]:
    """The meaning of the marks that occur in a table."""
    found = notes(text)
    if FEW_SEEDS in text:
        found.append(f"{_FEW_SEEDS_NOTE}{': listed after the others' if few_seeds_last else ''}.")
    if counts := sorted({int(count) for count in re.findall(re.escape(COUNT) + r"(\d+)\)", text)}):
        marks, numbers = (text.join(map(str, counts)) for text in (f") and {COUNT}", " or "))
        found.append(
            f"{COUNT}{marks}): the mean is over {numbers} of the groups or domains, those that have this value."
        )
    return found


def _matrix_section(listed: Listing) -> list[str]:
    if not listed.trained:
        return []
    return ["### Group by group", *group_matrix(listed.trained[:MOST_ROWS]), *_left_out(listed.trained)]


def _open_section(listed: Listing) -> list[str]:
    if not listed.opened:
        return []
    tasks = len(load_suite(listed.suite).main_tasks)
    return [
        "### Not trained under an arm (`open`)",
        f"The open score is the mean transfer-zone accuracy of the {tasks} main tasks. "
        + _open_intervals(listed.opened),
        table([entry.row for entry in listed.opened[:MOST_ROWS]], left=2),
        *open_matrix(listed.opened[:MOST_ROWS]),
        *_left_out(listed.opened),
    ]


def _open_intervals(entries: Sequence[OpenEntry]) -> str:
    """What the intervals of these systems include."""
    single = {entry.part.runs == 1 for entry in entries}
    if single == {True}:
        return "Each system answered once, so its interval is over examples alone."
    if single == {False}:
        return "Intervals are over seeds."
    return "The interval of a system that answered once is over examples alone, of the others over seeds."
