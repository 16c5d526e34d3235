"""The content of a group's page: the curves of all systems as data, and their figures."""

from __future__ import annotations

from typing import Any

from lgbench.data.groups import Group
from lgbench.leaderboard.markdown import notes
from lgbench.leaderboard.site.cells import figure, json_script
from lgbench.leaderboard.standings import Standings
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.curves import curve, zone_spans
from lgbench.scoring.estimates import Sample

SHOWN_AT_FIRST = 6
"""Curves that a page begins with: more are hard to tell apart."""
_DIGITS = 6


def group_page(listed: Standings, group: Group) -> dict[str, Any]:
    """The variables of the template."""
    own = [
        (entry, scores) for entry in listed.trained for scores in entry.scores.groups if scores.group.name == group.name
    ]
    rows: list[dict[str, Any]] = []
    for entry, scores in own:
        transfer = scores.arms.get("transfer")
        rows.append(
            {
                "name": entry.on_suite.system.name,
                "tier": str(entry.on_suite.tier),
                "seeds": len(transfer.seeds) if transfer else 0,
                "word": entry.scores.verdicts[group.name].word,
                "figures": [
                    figure(scores.score),
                    figure(scores.transfer_gain, signed=True),
                    figure(scores.gain_over("control"), signed=True),
                ],
            }
        )
    arms = [arm.name for arm in group.arms if any(arm.name in scores.arms for _, scores in own)]
    return {
        "suite": listed.suite,
        "group": group,
        "systems": rows,
        "arms": arms,
        "shown_at_first": SHOWN_AT_FIRST,
        "marks": notes("".join(cell.value + cell.interval for row in rows for cell in row["figures"])),
        "curves": json_script(
            {
                "group": _info(group),
                "systems": [_system(entry.on_suite.system.name, scores) for entry, scores in own],
            }
        ),
    }


def _info(group: Group) -> dict[str, Any]:
    return {
        "name": group.name,
        "main": group.main,
        "main_length": group.main_length,
        "aux_length": group.aux_length,
        "grid": group.grid,
        "zones": [span._asdict() for span in zone_spans(group)],
    }


def _system(name: str, scores: GroupScores) -> dict[str, Any]:
    return {"name": name, "arms": {arm: _arm(of_arm, scores.group) for arm, of_arm in scores.arms.items()}}


def _arm(arm: ArmScores, group: Group) -> dict[str, Any]:
    """The curves of an arm, and what a test against another needs: accuracies and margins of its mean."""
    found: dict[str, Any] = {
        "seeds": [seed.result.seed for seed in arm.seeds],
        "curves": [
            [round(float(share), _DIGITS) for share in seed]
            for seed in curve("", [seed.result for seed in arm.seeds], group.main, group.grid).seeds
        ],
    }
    if arm.transfer is not None:
        (sample,) = arm.transfer.weights
        found |= _sample(sample)
    return found


def _sample(sample: Sample) -> dict[str, Any]:
    down, up = sample.margins
    return {
        "accuracies": [float(share) for share in sample.accuracies],
        "down": float(down),
        "up": float(up),
        "constant": sample.seeds > 1 and not sample.variance,
    }
