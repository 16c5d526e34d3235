"""The pages of findings: their tables and pictures are what the committed records give."""

from __future__ import annotations

from types import ModuleType

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from lgbench.plotting import picture
from tests.findings import heads, methods
from tests.regenerate import with_parts

PAGES = pytest.mark.parametrize("page", [heads, methods], ids=lambda page: page.PAGE.stem)


@PAGES
def test_the_tables_are_what_the_records_give(page: ModuleType) -> None:
    """After records were added, `python -m tests.findings` writes them anew."""
    text, parts = page.PAGE.read_text("utf-8"), page.tables()
    assert with_parts(text, parts) == text
    assert all(len(rows) > 1 for rows in parts.values())


@PAGES
def test_the_picture_is_what_the_records_give(page: ModuleType) -> None:
    assert picture(page.figure(), "svg") == page.PICTURE.read_bytes()


@pytest.mark.parametrize(
    ("text", "what"),
    [("abcd", "nothing"), ("abca", "a letter"), ("abcab", "a pair"), ("aaa", "a pair"), ("aa", "a letter")],
)
def test_what_a_string_repeats(text: str, what: str) -> None:
    assert heads.repeats(text) == what
