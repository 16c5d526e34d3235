"""Words that a first reader stumbles over, with what to write instead."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
AVOIDED = {
    r"anew|afresh": "again",
    r"mend(s|ed)?": "fix",
    r"tells?|told(?! apart)": "say, report",
    r"stands?": "is",
    r"lies|lay": "is, is in",
    r"thus|hence": "so",
    r"whoever": "anyone who",
    r"whatever": "whichever, any, regardless of",
    r"so many": "the number, as in N",
    r"be it": "whether",
    r"albeit": "although",
    r"amiss": "wrong",
    r"goes on|go on": "continue",
    r"counted apart": "counted separately",
}
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "submissions/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def avoided(text: str) -> list[str]:
    """What to change in a page: its prose alone, without code, addresses and comments."""
    prose = re.sub(r"^ *```.*?^ *```$|<!--.*?-->|`[^`]*`|\]\([^)]*\)", " ", text, flags=re.M | re.S)
    return [
        f"{found[0]!r}: write {instead!r}"
        for pattern, instead in AVOIDED.items()
        for found in re.finditer(rf"\b(?:{pattern})\b", prose, flags=re.I)
    ]


def test_a_word_is_found_in_prose_alone() -> None:
    assert avoided("It is\nwritten anew. `anew` [a](anew.md)\n```sh\nanew\n```\n") == ["'anew': write 'again'"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_avoids_words_that_readers_stumble_over(page: Path) -> None:
    assert avoided(page.read_text("utf-8")) == []
