"""A report in Markdown: its tables as tables, lines below another as a list."""

from __future__ import annotations

from collections.abc import Sequence

from lgbench.leaderboard.markdown import escape, table
from lgbench.util.tables import Curve, Table


def parts_markdown(parts: Sequence[Table | str]) -> str:
    """Tables and lines as Markdown, without the drawn curves. Text of strangers is escaped."""
    blocks, in_list = list[str](), False
    for part in parts:
        if isinstance(part, str):
            if item := part.removeprefix("  ") if part.startswith("  ") else "":
                line = f"- {escape(item)}"
                blocks = [*blocks[:-1], f"{blocks[-1]}\n{line}"] if in_list else [*blocks, line]
            elif part:
                blocks.append(f"**{escape(part)}**" if part.endswith((".", "?")) else escape(part))
            in_list = bool(item)
            continue
        in_list = False
        blocks += [escape(part.title)] if part.title else []
        blocks.append(_table(part))
    return "\n\n".join(blocks) + "\n"


def _table(part: Table) -> str:
    has_curve = any(isinstance(row[-1], Curve) for row in part.rows)
    columns = list(part.columns)[: -1 if has_curve else None]
    rows = [
        {escape(name): "-" if cell is None else escape(str(cell)) for name, cell in zip(columns, row, strict=False)}
        for row in part.rows
    ]
    return table(rows, left=part.text)
