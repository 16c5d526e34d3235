"""docs/extending.md followed to the letter: its files are written, and its commands run. Its Python: test_docs.py."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.shell import Shell
from tests.tiny_training import TINY

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text("utf-8")
SECTIONS = re.findall(r"^## ([^\n]*)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
OF_COMMANDS = [(title, text) for title, text in SECTIONS if "```console" in text]
SMALL = {
    "train": [f"--set={change}" for change in TINY],
    "ablate": [f"--set={change}" for change in TINY],
    "run": [f"--option=change={change}" for change in TINY],
}


def tiny(command: list[str]) -> list[str]:
    """The command, with a training run that takes a moment. Some architectures are not ours to make small."""
    own = SMALL.get(command[0], [])
    return command + (own if "--model" not in command else own[4:])


@pytest.mark.parametrize(("title", "text"), OF_COMMANDS, ids=[title for title, _ in OF_COMMANDS])
def test_the_commands_of_a_section_work(title: str, text: str, lgbench: Shell) -> None:
    for name, content in re.findall(r"<!-- file: (\S+) -->\n```python\n(.*?)^```$", text, re.M | re.S):
        Path(name).write_text(content, encoding="utf-8")
    said = ""
    for command in re.findall(r"^\$ lgbench (.*)$", text, re.M):
        done = lgbench(*tiny(shlex.split(command)))
        assert done.status == 0, done.err
        said += done.out + done.err
    expected = {
        "A model": "capitalize",
        "A kind of model": "api:NAME",
        "An architecture": "string_copy",
        "A method": "factor=",
        "An arm": "half of the examples are of the main task",
        "An experiment": "rate 0.01",
        "An executor": "capitalize-reverse",
    }
    assert expected[title] in said


def test_every_point_has_its_section() -> None:
    anchors = re.findall(r"^\| \[.*?\]\(#(.*?)\) \|", PAGE, re.M)
    assert anchors == [title.lower().replace(" ", "-") for title, _ in SECTIONS]
