"""Rows of the tables of findings."""

from __future__ import annotations

from pathlib import Path

from lgbench.experiments.effects import Effect

ROOT = Path(__file__).parents[2]


def row(*cells: object) -> str:
    """A row of a Markdown table."""
    return f"| {' | '.join(map(str, cells))} |"


def effect_cells(effect: Effect) -> tuple[str, ...]:
    """What a registered test gives: size in points, 95 % interval, p and verdict."""
    interval = "-" if effect.interval is None else " to ".join(f"{100 * each:.1f}" for each in effect.interval)
    return f"{100 * float(effect.size):+.1f}", interval, f"{float(effect.p):.3f}", effect.verdict
