"""What the committed pages of the leaderboard say."""

from __future__ import annotations

import re
from pathlib import Path

SYSTEMS = Path(__file__).parent.parent / "leaderboard" / "systems"


def gains(system: str) -> dict[str, dict[str, str]]:
    """The row of gains of each group on a system's page, the number of its `transfer` seeds, and its verdict."""
    page = (SYSTEMS / f"{system}.md").read_text("utf-8")
    found = {}
    for section in re.split("^### ", page, flags=re.MULTILINE)[1:]:
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in section.splitlines() if line[:1] == "|"]
        (heading,) = [place for place, row in enumerate(rows) if row[0] == "transfer gain"]
        seeds = next(row[1] for row in rows if row[0] == "transfer")
        shown = dict(zip(rows[heading], rows[heading + 2], strict=True))
        (verdict,) = re.findall(r"^Verdict: \*\*(.*)\*\*", section, flags=re.MULTILINE)
        found[section.split("\n")[0].partition(": ")[2]] = {
            name: text.removesuffix("†") for name, text in shown.items()
        } | {
            "seeds": seeds,
            "verdict": verdict,
        }
    return found
