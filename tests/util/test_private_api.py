"""What is used without a promise is in one module, can be turned off, and changes no reply."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lgbench.results.schema import Result
from lgbench.util import private_api
from lgbench.util.records import read_record

PACKAGE = Path(private_api.__file__).parent
# Of named tuples, and how a process ends at once: documented in spite of their names.
DOCUMENTED = {"_replace", "_asdict", "_fields", "_exit"}


def private_names(source: str) -> list[str]:
    """What a source takes from objects of others by a name that begins with one underscore, and whether it calls C."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            found += [] if own or node.attr in DOCUMENTED else [node.attr]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            found += [str(each.value) for each in node.args if isinstance(each, ast.Constant) if _private(each.value)]
        elif isinstance(node, ast.Import):
            found += [each.name for each in node.names if each.name == "ctypes"]
    return found


def _private(value: object) -> bool:
    return isinstance(value, str) and value.startswith("_") and not value.startswith("__")


def test_a_private_name_would_be_found() -> None:
    assert private_names("import ctypes\ngetattr(ops, '_linear')(pool._processes, self._own)\n") == [
        "ctypes",
        "_linear",
        "_processes",
    ]


def test_all_are_in_one_module() -> None:
    used = {path.relative_to(PACKAGE): private_names(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py")}
    assert {str(path) for path, names in used.items() if names} == {"private_api.py"}


def test_the_switch_turns_each_off(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = type("Model", (), {"_supports_default_dynamic_cache": staticmethod(lambda: True)})()
    monkeypatch.delenv(private_api.PLAIN_VARIABLE, raising=False)
    assert private_api.supports_dynamic_cache(model)
    monkeypatch.setenv(private_api.PLAIN_VARIABLE, "1")
    monkeypatch.setitem(sys.modules, "ctypes", None)  # an import of it would fail
    private_api.trim_heap()
    private_api.flush_c_streams()
    assert (private_api.supports_dynamic_cache(model), private_api.one_dnn_linear()) == (False, None)


def replies(model: str, folder: Path, *, limit: int, plain: bool) -> tuple[int, str]:
    """How many replies an evaluation in a process of its own got, and the hash of them all."""
    environment = {**os.environ, private_api.PLAIN_VARIABLE: "1" if plain else ""}
    command = [sys.executable, "-m", "lgbench", "eval", model, "--task", "capitalize_reverse", "--limit", str(limit)]
    options = ["--length", "4,12", "--quiet", "--output", str(folder)]
    done = subprocess.run([*command, *options], env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    result = read_record(folder / "result.json", Result)
    return sum(cell.counts.total for cell in result.cells), result.replies_sha256


@pytest.mark.slow
def test_the_reference_model_replies_the_same_without_them(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with_them, without = (
        replies("tiny:transfer", tmp_path / str(each), limit=64, plain=each) for each in (False, True)
    )
    assert with_them == without
    assert with_them[0] == 2 * 64


def test_the_processor_is_the_same_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.delenv(private_api.PLAIN_VARIABLE, raising=False)
    asked_of_torch = private_api.has_fast_bfloat16()
    monkeypatch.setenv(private_api.PLAIN_VARIABLE, "1")
    assert private_api.has_fast_bfloat16() == asked_of_torch


@pytest.mark.slow
def test_a_hugging_face_model_replies_the_same_without_them(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from benchmarks.llama import make_llama

    model = f"hf:{make_llama(tmp_path / 'model', end_weight=3.0)}"
    with_them, without = (replies(model, tmp_path / str(each), limit=8, plain=each) for each in (False, True))
    assert with_them == without
    assert with_them[0] == 2 * 8
