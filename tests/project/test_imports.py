"""The package does not import what only other packages bring."""

from __future__ import annotations

import ast
from pathlib import Path

import lgbench


def test_click_is_not_imported() -> None:
    """Typer brings a copy of its own, so an install without the extras of development has no click."""
    importing = [
        path.name
        for path in Path(lgbench.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if (isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "click" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "click")
    ]
    assert not importing
