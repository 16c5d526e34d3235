"""Draw docs/arms.svg: what each arm of a group is trained on, by length. `python tools/draw_arms.py` writes it.

Lengths and tasks are those of the suite. The ground is light, so that the picture can be read in both themes.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

from lgbench.data.groups import Group, Zone
from lgbench.data.suites import load_suite
from lgbench.scoring.styles import ZONE_SHADES

PICTURE = Path(__file__).parents[1] / "docs" / "arms.svg"
ARMS = {
    "main_only": "the main task alone",
    "transfer": "with related tasks",
    "control": "with an unrelated task",
    "short_aux": "related, but short",
    "direct": "long from the start",
}
ZONES: dict[Zone, str] = {"in_distribution": "in-distribution", "transfer": "transfer zone", "beyond": "beyond"}
WIDTH, LEFT, RIGHT, ZONES_TOP, ARMS_TOP, BAR, GAP = 560, 158, 538, 28, 62, 21, 13
"""Of the picture, in pixels: its width, the ends of the axis, the tops of zones and arms, a bar, between two arms."""


def drawing(suite: str = "mini-v1", name: str = "capitalize-reverse") -> str:
    """The picture as SVG."""
    group = load_suite(suite).group(name)
    arms, top = [], ARMS_TOP
    for arm in ARMS:
        arms += _arm(group, arm, top)
        top += max(len(group.mixture(arm).parts) * BAR, 36) + GAP
    title = f"What each arm of {name} is trained on"
    height = top + 46
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            'role="img" font-family="system-ui, -apple-system, Segoe UI, Roboto, Helvetica, Arial, sans-serif">',
            f"<title>{escape(title)}</title>",
            f"<desc>{escape(description(group))}</desc>",
            f'<rect x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1}" rx="8" fill="#ffffff" stroke="#d0d0d0"/>',
            _text(12, 18, title, size=14, more=' font-weight="bold"'),
            *_ground(group, top),
            *arms,
            "</svg>",
            "",
        ]
    )


def description(group: Group) -> str:
    """The picture in words."""
    parts = {arm: group.mixture(arm).parts for arm in ARMS}
    lists = [f"{arm}: " + ", ".join(f"{part.task} to {part.max_length}" for part in parts[arm]) for arm in ARMS]
    return "; ".join(lists) + "."


def _ground(group: Group, bottom: int) -> list[str]:
    """The zones and the axis."""
    ends = (0, group.main_length, group.aux_length, group.grid[-1])
    lines = []
    for (zone, label), start, end in zip(ZONES.items(), ends[:-1], ends[1:], strict=True):
        lines.append(_box(group, start, end, top=ZONES_TOP, height=bottom - ZONES_TOP, fill=ZONE_SHADES[zone]))
        lines.append(_text(_x(group, (start + end) / 2), ZONES_TOP + 18, label, anchor="middle"))
    lines += [_text(_x(group, at), bottom + 16, str(at), anchor="middle") for at in group.grid]
    label = "length of the input; the lengths shown are tested"
    return [*lines, _text(_x(group, group.grid[-1] / 2), bottom + 35, label, anchor="middle")]


def _arm(group: Group, arm: str, top: int) -> list[str]:
    """An arm: its name, and a bar for each task, as long as the task's longest training inputs."""
    lines = [
        _text(12, top + 14, arm, size=13, more=' font-weight="bold" font-family="ui-monospace, monospace"'),
        _text(12, top + 30, ARMS[arm], fill="#555555"),
    ]
    colors = {group.main: ("#1f5fa8", "#ffffff"), group.control: ("#f0c08a", "#3a2408")}
    for number, part in enumerate(group.mixture(arm).parts):
        at = top + number * BAR
        fill, ink = colors.get(part.task, ("#9cc3e6", "#10243c"))
        lines.append(_box(group, 0, part.max_length, top=at, height=BAR - 3, fill=fill, more=' rx="3"'))
        lines.append(_text(LEFT + 6, at + 13.5, part.task, fill=ink))
    return lines


def _x(group: Group, length: float) -> float:
    """Where a length is on the axis."""
    return round(LEFT + (RIGHT - LEFT) * length / group.grid[-1], 1)


def _box(group: Group, start: float, end: float, *, top: float, height: float, fill: str, more: str = "") -> str:
    width = round(_x(group, end) - _x(group, start), 1)
    return f'<rect x="{_x(group, start)}" y="{top}" width="{width}" height="{height}" fill="{fill}"{more}/>'


def _text(
    x: float, y: float, text: str, *, size: int = 12, fill: str = "#222222", anchor: str = "start", more: str = ""
) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{fill}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(drawing(), encoding="utf-8", newline="\n")
