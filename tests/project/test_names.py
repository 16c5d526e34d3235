"""No module shares the name of a public function, so that `from lgbench... import name` has one meaning."""

from __future__ import annotations

import ast
from pathlib import Path

import lgbench

PACKAGE = Path(lgbench.__file__).parent
# Functions of the command line are commands; nobody imports them.
LIBRARY = [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent.name != "cli"]


def test_the_public_names_are_no_modules() -> None:
    assert not set(lgbench.__all__) & {path.stem for path in PACKAGE.glob("*.py")}
    assert not set(lgbench.__all__) & {path.name for path in PACKAGE.iterdir() if path.is_dir()}


def test_a_module_has_no_function_of_its_own_name() -> None:
    shared = []
    for path in LIBRARY:
        functions = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
        if path.stem in functions:
            shared.append(str(path.relative_to(PACKAGE)))
    assert shared == []


def test_every_public_name_can_be_imported_and_is_documented() -> None:
    for name in lgbench.__all__:
        assert name == "__version__" or getattr(lgbench, name).__doc__
