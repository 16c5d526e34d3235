"""Imports point downward, as CONTRIBUTING.md says; each check shows first that it could fail."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "lgbench"
# The longest prefix counts. A module that no line places fails the test: place it, here and in CONTRIBUTING.md.
LAYERS = {
    "lgbench": 6,
    "lgbench.__main__": 6,
    "lgbench.cli": 6,
    "lgbench.leaderboard": 5,
    "lgbench.demonstration": 5,
    "lgbench.plotting": 5,
    "lgbench.looks": 5,
    "lgbench.experiments": 5,
    "lgbench.submissions": 4,
    "lgbench.training": 4,
    "lgbench.doctor": 4,
    "lgbench.series": 4,
    "lgbench.export": 4,
    "lgbench.evaluation": 3,
    "lgbench.running": 3,
    "lgbench.scoring": 3,
    "lgbench.environment": 3,
    "lgbench.rescoring": 3,
    "lgbench.diagnosis": 3,
    "lgbench.models": 2,
    "lgbench.suites": 2,
    "lgbench.drafts": 2,
    "lgbench.draft_checks": 2,
    "lgbench.task_checks": 2,
    "lgbench.cells": 2,
    "lgbench.training_data": 2,
    "lgbench.groups": 1,
    "lgbench.tasks": 1,
    "lgbench.mixtures": 0,
    "lgbench.task": 0,
    "lgbench.tables": 0,
    "lgbench.results": 0,
    "lgbench.records": 0,
    "lgbench.replies": 0,
    "lgbench.files": 0,
    "lgbench.processes": 0,
    "lgbench.extras": 0,
    "lgbench.errors": 0,
    "lgbench.version": 0,
}
FORBIDDEN = [
    ("lgbench.evaluation", "lgbench.scoring.measures"),
    ("lgbench.scoring.measures", "lgbench.evaluation"),
    ("lgbench.scoring.bootstrap", "lgbench.evaluation"),
    ("lgbench.scoring.comparison", "lgbench.evaluation"),
    ("lgbench.scoring.systems", "lgbench.evaluation"),
    ("lgbench.scoring.report", "lgbench.evaluation"),
    ("lgbench.results", "lgbench.tasks"),
    ("lgbench.results", "lgbench.suites"),
]


def test_contributing_places_every_module_where_it_is() -> None:
    table = re.findall(r"^\| (\d) \| (.*?) \|", (PACKAGE.parent / "CONTRIBUTING.md").read_text("utf-8"), re.M)
    told = {
        f"lgbench.{name.removeprefix('lgbench/').removesuffix('.py').rstrip('/')}": int(layer)
        for layer, modules in table
        for name in re.findall(r"`(.*?)`", modules)
    }
    assert told == {name: layer for name, layer in LAYERS.items() if name not in ("lgbench", "lgbench.__main__")}


def layer(module: str) -> int:
    parts = module.split(".")
    prefixes = [".".join(parts[:end]) for end in range(len(parts), 1, -1)]
    found = [LAYERS[prefix] for prefix in prefixes if prefix in LAYERS] or [LAYERS[module]]
    return found[0]


def imports_of(source: str) -> set[str]:
    """The modules of lgbench that a source imports anywhere, inside functions too; `lgbench` itself does not count."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name for name in names if name in MODULES and name != "lgbench"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def upward(module: str, source: str) -> list[str]:
    return [name for name in imports_of(source) if layer(name) > layer(module)]


def test_an_upward_import_would_be_found() -> None:
    assert upward("lgbench.task", "def f():\n    from lgbench.suites import Suite\n") == ["lgbench.suites"]
    assert upward("lgbench.suites", "from lgbench import tasks\n") == []


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downward(module: str) -> None:
    if module != "lgbench":
        assert upward(module, MODULES[module].read_text("utf-8")) == []


def test_there_are_no_cycles() -> None:
    graph = {name: imports_of(path.read_text("utf-8")) - {name} for name, path in MODULES.items() if name != "lgbench"}
    list(TopologicalSorter(graph).static_order())
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph | {"lgbench.task": {"lgbench.cells"}}).static_order())


@pytest.mark.parametrize(("module", "other"), FORBIDDEN)
def test_what_must_not_know_each_other(module: str, other: str) -> None:
    assert not any(
        name == other or name.startswith(f"{other}.") for name in imports_of(MODULES[module].read_text("utf-8"))
    )
