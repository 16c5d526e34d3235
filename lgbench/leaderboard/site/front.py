"""The content of the site's front page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from lgbench.data.groups import Group
from lgbench.data.suites import Suite
from lgbench.leaderboard.board import explanation, section_heading
from lgbench.leaderboard.markdown import count_range, horizons, notes, points, short_range
from lgbench.leaderboard.order import Entry, Section
from lgbench.leaderboard.rows import asked, score_name, seen
from lgbench.leaderboard.scored import SuiteScores
from lgbench.leaderboard.site.cells import Cell, figure
from lgbench.leaderboard.standings import Opened, Standings
from lgbench.scoring.comparison import GroupScores
from lgbench.scoring.curves import axis_ends, curve, zone_spans
from lgbench.scoring.display import NONE, percent
from lgbench.submissions.tiers import Tier
from lgbench.training.spec import Division

MOST_CURVES = 100
"""Systems of a suite with small curves; a thousand would make the page four times as large."""
_WIDTH, _HEIGHT = 72, 30
_TEXT, _NUMBER = "left", "number"


def front_page(listed: Sequence[Standings]) -> dict[str, Any]:
    """The variables of the template.

    Args:
        listed: The systems of each suite with systems.
    """
    groups = dict.fromkeys(group.name for each in listed for group in each.suite.groups)
    return {
        "front_suites": [_suite(each) for each in listed],
        "divisions": get_args(Division),
        "tiers": [str(tier) for tier in reversed(Tier)],
        "groups": list(groups),
    }


def _suite(listed: Standings) -> dict[str, Any]:
    suite = listed.suite
    return {
        "name": suite.name,
        "groups": suite.groups,
        "sections": [_section(number, section, suite) for number, section in enumerate(listed.sections)],
        "matrix": list(_matrix_blocks(listed)),
        "opened": [_open_row(suite, entry) for entry in listed.opened],
        "open_heads": [
            ("#", _TEXT),
            ("system", _TEXT),
            ("asked", _TEXT),
            ("open score", _NUMBER),
            *((task, _NUMBER) for task in suite.main_tasks),
            ("parameters", _NUMBER),
        ],
    }


def _section(number: int, section: Section[Entry], suite: Suite) -> dict[str, Any]:
    rows = [_row(order, entry, suite) for order, entry in enumerate(section.entries)]
    columns = (
        score_name(section.coverage),
        "mean of domains",
        "transfer gain",
        "control gain",
        "seen",
        "success rate",
        "seeds",
        "parameters",
    )
    place = [("#", _TEXT)] if section.coverage == "ranked" else []
    shown = "".join(cell.value + cell.interval for row in rows for cell in row["figures"])
    return {
        "id": f"{suite.name}-table{number}",
        "title": section_heading(section),
        "note": explanation(section, suite).replace("`", ""),
        "ranked": section.coverage == "ranked",
        "heads": [*place, ("system", _TEXT), ("tier", _TEXT), *((name, _NUMBER) for name in columns)],
        "rows": rows,
        "marks": notes(shown),
    }


def about(on_suite: SuiteScores, groups: Sequence[GroupScores]) -> dict[str, Any]:
    """The attributes by which a row is filtered."""
    parameters = on_suite.parameters
    return {
        "name": on_suite.system.name,
        "division": on_suite.division,
        "tier": str(on_suite.tier),
        "tier_order": int(on_suite.tier),
        "groups": " ".join(scores.group.name for scores in groups),
        "least": parameters[0] if parameters else "",
        "most": parameters[-1] if parameters else "",
    }


def _row(order: int, entry: Entry, suite: Suite) -> dict[str, Any]:
    scores, groups = entry.scores, len(entry.scores.covered)
    domains = len({suite.domain(group).name for group in suite.groups})
    success, _ = scores.mean(lambda arm: arm.success_rate)
    seen_in, consistent = seen(scores)
    few = [Cell(seen_in, consistent, float(seen_in.split()[0]))]
    return about(entry.on_suite, scores.groups) | {
        "order": order,
        "place": str(entry.place),
        "figures": [
            figure(scores.score, of=groups),
            figure(scores.domain_score, of=domains),
            figure(scores.transfer_gain, of=groups, signed=True),
            figure(scores.control_gain, of=groups, signed=True),
            *few,
            Cell(percent(success), "", None if success is None else float(success)),
            Cell(count_range(scores.seeds), "", min(scores.seeds, default=0)),
            _parameters(entry.on_suite),
        ],
    }


def _parameters(on_suite: SuiteScores) -> Cell:
    counts = on_suite.parameters
    return Cell(short_range(counts), "", counts[-1] if counts else None)


def _matrix_blocks(listed: Standings) -> Iterator[dict[str, Any]]:
    """The rows of the matrix, by the table of their systems: sorting leaves each in its block."""
    above = 0
    for section in listed.sections:
        rows = [
            _matrix_row(listed.suite, entry, number < MOST_CURVES)
            for number, entry in enumerate(section.entries, start=above)
        ]
        yield {"title": section_heading(section), "rows": rows}
        above += len(rows)


def _matrix_row(suite: Suite, entry: Entry, with_curves: bool) -> dict[str, Any]:
    own: Mapping[str, GroupScores] = {scores.group.name: scores for scores in entry.scores.groups}
    cells = [
        _matrix_cell(own[group.name], entry.scores.verdicts[group.name].word, with_curves)
        if group.name in own
        else None
        for group in suite.groups
    ]
    return about(entry.on_suite, entry.scores.groups) | {"cells": cells}


def _matrix_cell(scores: GroupScores, word: str, with_curve: bool) -> dict[str, Any]:
    gain = scores.transfer_gain
    return {
        "score": percent(scores.score.value) if scores.score else NONE,
        "sort": round(float(scores.score.value), 6) if scores.score else "",
        "gain": points(gain.value) if gain else "",
        "word": word,
        "points": _points(scores) if with_curve and "transfer" in scores.arms else "",
        "zone": _zone(scores.group),
    }


def _points(scores: GroupScores) -> str:
    group, seeds = scores.group, scores.arms["transfer"].seeds
    mean = curve("transfer", [seed.result for seed in seeds], group.main, group.grid).mean
    places = (
        (_x(group, length), _HEIGHT - 2 - float(share) * (_HEIGHT - 4))
        for length, share in zip(group.grid, mean, strict=True)
    )
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in places)


def _zone(group: Group) -> tuple[int, int]:
    """Where the transfer zone begins, and how wide it is."""
    ends = [(_x(group, span.left), _x(group, span.right)) for span in zone_spans(group) if span.zone == "transfer"]
    left, right = ends[0] if ends else (0.0, 0.0)
    return round(left), round(right) - round(left)


def _x(group: Group, length: float) -> float:
    first, last = axis_ends(group.grid)
    return (length - first) / (last - first) * _WIDTH


def _open_row(suite: Suite, entry: Opened) -> dict[str, Any]:
    scores = entry.scores
    tasks = []
    for task in suite.main_tasks:
        share = scores.transfer(task)
        held = horizons(scores.horizons_90[task], scores.horizons_50[task])
        tasks.append(Cell(percent(share), held, None if share is None else float(share)))
    return about(entry.on_suite, ()) | {
        "place": entry.place,
        "asked": asked(scores),
        "figures": [
            figure(scores.score, of=len(suite.main_tasks), mark_one_seed=False),
            *tasks,
            _parameters(entry.on_suite),
        ],
    }
