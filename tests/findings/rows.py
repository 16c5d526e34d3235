"""Rows of the tables of findings."""

from __future__ import annotations

from pathlib import Path

from lgbench.experiments.effects import Effect

ROOT = Path(__file__).parents[2]


def row(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def effect_row(effect: Effect) -> str:
    """A registered test: group, contrast, size in points, 95 % interval, p and verdict."""
    low, high = effect.interval or (None, None)
    interval = "-" if low is None or high is None else f"{100 * low:.1f} to {100 * high:.1f}"
    size = f"{100 * float(effect.size):+.1f}"
    return row(f"`{effect.group}`", effect.contrast.what, size, interval, f"{float(effect.p):.3f}", effect.verdict)
