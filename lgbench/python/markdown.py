"""A report in Markdown: tables as tables, and lines below another as a list."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from lgbench.leaderboard.markdown import table
from lgbench.util.tables import Curve, Table

_MEANS_SOMETHING = re.compile(r"[\\`*_\[\]|~#]")


def parts_markdown(parts: Sequence[Table | str]) -> str:
    """Tables and lines as Markdown, without the drawn curves. Lines that begin with two spaces are items of a list."""
    blocks = list[str]()
    for part, following in zip(parts, [*parts[1:], ""], strict=True):
        if isinstance(part, Table):
            blocks += [_escaped(part.title), _table(part)]
        elif part.startswith("  "):
            item = f"- {_escaped(part.strip())}"
            is_first = not blocks or not blocks[-1].startswith("- ")
            blocks = [*blocks, item] if is_first else [*blocks[:-1], f"{blocks[-1]}\n{item}"]
        elif isinstance(following, str) and following.startswith("  "):
            blocks.append(f"**{_escaped(part)}**")
        else:
            blocks.append(_escaped(part))
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(part: Table) -> str:
    width = len(part.columns) - any(isinstance(row[-1], Curve) for row in part.rows)
    columns = [_escaped(name) for name in part.columns[:width]]
    cells = [["-" if cell is None else _escaped(str(cell)) for cell in row[:width]] for row in part.rows]
    return table([dict(zip(columns, row, strict=True)) for row in cells], left=part.text)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: a system's name may be a stranger's. Indentation becomes visible."""
    indented = "\N{NO-BREAK SPACE}" * (len(text) - len(text.lstrip()))
    return indented + _MEANS_SOMETHING.sub(r"\\\g<0>", html.escape(text.lstrip(), quote=False))
