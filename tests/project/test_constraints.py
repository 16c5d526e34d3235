"""constraints.txt is what `python tools/constraints.py` writes: what stays in force, and what is left out."""

from __future__ import annotations

import re
import tomllib
from itertools import chain

import pytest

from tools import constraints

LISTED = "lgbench @ file:///x\nnvidia-nccl-cu13==2.1\nTyping_Extensions==4.16.0\ntorch==2.13.0+cpu\nPyYAML==6.0.3\n"


def test_what_is_written_has_no_local_labels_and_nothing_of_a_gpu() -> None:
    assert constraints.frozen(LISTED) == (
        f"{constraints.HEADER}PyYAML==6.0.3\ntorch==2.13.0\nTyping_Extensions==4.16.0\n"
    )


@pytest.mark.parametrize(
    ("upgraded", "upgrade_all", "kept"),
    [
        (set(), False, "PyYAML==6.0.3\ntorch==2.13.0\nTyping_Extensions==4.16.0\n"),
        ({"typing-extensions"}, False, "PyYAML==6.0.3\ntorch==2.13.0\n"),
        (set(), True, "torch==2.13.0\n"),
        ({"torch"}, True, ""),
    ],
)
def test_versions_stay_unless_they_are_named(upgraded: set[str], upgrade_all: bool, kept: str) -> None:
    assert constraints.kept(constraints.frozen(LISTED), upgraded, upgrade_all=upgrade_all) == kept


def test_the_file_is_as_the_program_writes_it_and_names_all_that_pyproject_does() -> None:
    text = constraints.CONSTRAINTS.read_text("utf-8")
    assert constraints.frozen(text) == text
    project = tomllib.loads((constraints.ROOT / "pyproject.toml").read_text("utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [
        *project["project"]["dependencies"],
        *project["build-system"]["requires"],
        *chain.from_iterable(extras.values()),
    ]
    names = {constraints.normal(re.split(r"[^\w.-]", each)[0]) for each in wanted} - {"lgbench"}
    missing = names - {constraints.normal(name) for name in constraints.pins(text)}
    assert missing == set(), "run `python tools/constraints.py`"
    assert set(constraints.EXTRAS.split(",")) >= extras.keys() - set(re.findall(r"\w+", extras["all"][0]))
