"""docs/python.md followed from above: every `pycon` block, in one session, in a clone."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

import lgbench

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text("utf-8")


def test_the_page_says_what_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("submissions", "docs/runs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    session = "\n".join(re.findall(r"^```pycon\n(.*?)^```$", PAGE, re.M | re.S))
    test = doctest.DocTestParser().get_doctest(session, {"__name__": "__main__"}, "docs/python.md", None, None)
    assert len(test.examples) > 30
    told: list[str] = []
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=told.append).failed == 0, (
        "".join(told)
    )


def test_every_name_on_the_page_exists_and_every_public_function_is_on_it() -> None:
    named = set(re.findall(r"lgbench\.(\w+)\(", PAGE)) | set(re.findall(r"`(\w+)`", PAGE.split("\n## ")[0]))
    public = {name for name in dir(lgbench) if not name.startswith("_")}
    assert named - {"lgbench"} <= public
    functions = {name for name in public if name.islower() and callable(getattr(lgbench, name))}
    assert functions <= named | set(re.findall(r"`(\w+)`", PAGE))
