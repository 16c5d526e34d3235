"""docs/finding-heads.md: its tables and its picture are what the committed records give."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from lgbench.plotting import picture
from tests import findings
from tests.regenerate import with_parts


def test_the_tables_are_what_the_records_give() -> None:
    """After records were added, `python -m tests.findings` writes them anew."""
    page = findings.PAGE.read_text("utf-8")
    parts = findings.tables()
    assert with_parts(page, parts) == page
    assert all(len(rows) > 1 for rows in parts.values())


def test_the_picture_is_what_the_records_give() -> None:
    assert picture(findings.figure(), "svg") == findings.PICTURE.read_bytes()


@pytest.mark.parametrize(
    ("text", "what"),
    [("abcd", "nothing"), ("abca", "a letter"), ("abcab", "a pair"), ("aaa", "a pair"), ("aa", "a letter")],
)
def test_what_a_string_repeats(text: str, what: str) -> None:
    assert findings.repeats(text) == what
