"""Writes the table of docs/reproduction.md anew, of what each reference system did in each group, from the board.

`python -m tests.reproduction`, after `lgbench leaderboard build`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.regenerate import with_parts

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reproduction.md"
SYSTEMS = ("reference-tuned", "reference-rope", "reference-nope")
ARMS = ("main_only", "control", "short_aux", "transfer")


def tables() -> dict[str, list[str]]:
    """The lines of each generated part of the page, by its name."""
    board = json.loads((ROOT / "leaderboard" / "board.json").read_text("utf-8"))
    (suite,) = (suite for suite in board["suites"] if suite["name"] == "mini-v1")
    scored = {
        (group["group"], system["system"]): group for system in suite["trained"] for group in system["groups"] if group
    }
    rows = [
        _row(scored[group["name"], system], system)
        for group in suite["groups"]
        for system in SYSTEMS
        if (group["name"], system) in scored
    ]
    return {"reference systems": rows}


def _row(group: dict[str, Any], system: str) -> str:
    arms = [group["arms"].get(arm) for arm in ARMS]
    shown = [_percent(arm["transfer"]["value"]) if arm else "-" for arm in arms]
    seeds = ", ".join(map(_percent, group["arms"]["transfer"]["accuracies"]))
    gain = group["transfer_gain"]
    interval = "" if gain["low"] is None else f" [{_points(gain['low'])}, {_points(gain['high'])}]"
    cells = (f"`{group['group']}`", f"`{system}`", *shown, seeds, _points(gain["value"]) + interval)
    return f"| {' | '.join((*cells, group['verdict']['word']))} |"


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-0.0", "0.0").replace("+0.0", "0.0")


if __name__ == "__main__":
    PAGE.write_text(with_parts(PAGE.read_text("utf-8"), tables()), encoding="utf-8")
