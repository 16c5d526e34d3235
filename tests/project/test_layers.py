"""The contracts in pyproject.toml hold, say what CONTRIBUTING.md says, and can fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("importlinter")

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
CONTRACTS = LINTER["contracts"]
BROKEN = {
    "layers": ("lgbench/util/text.py", "def f():\n    from lgbench.data.suites import Suite\n"),
    "acyclic": ("lgbench/data/cells.py", "import lgbench.data.stream\n"),
    "scoring": ("lgbench/scoring/measures.py", "import lgbench.evaluation.evaluator\n"),
    "results": ("lgbench/results/schema.py", "import lgbench.data.tasks\n"),
    "beside": ("lgbench/data/cells.py", "import benchmarks\n"),
}


def lint(folder: Path) -> tuple[dict[str, bool], str]:
    """Which contracts are kept, by their ids, in a folder that holds the packages; and what was printed."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
    kept = {each["id"]: f"\n{each['name']} KEPT" in done.stdout for each in CONTRACTS}
    assert (done.returncode == 0) == all(kept.values()), done.stdout + done.stderr
    return kept, done.stdout


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources and the contracts, to be broken."""
    folder = tmp_path_factory.mktemp("copied")
    for package in ("lgbench", "benchmarks"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "checkpoints"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_the_contracts_are_kept() -> None:
    kept, printed = lint(ROOT)
    assert all(kept.values()), printed


@pytest.mark.parametrize("contract", BROKEN)
def test_each_contract_can_fail(contract: str, copied: Path) -> None:
    name, statement = BROKEN[contract]
    before = (copied / name).read_text("utf-8")
    try:
        (copied / name).write_text(f"{before}\n{statement}", "utf-8")
        kept, printed = lint(copied)
    finally:
        (copied / name).write_text(before, "utf-8")
    assert not kept[contract]
    assert name.removesuffix(".py").split("/")[1] in printed


def test_a_module_that_no_layer_places_is_found(copied: Path) -> None:
    (new := copied / "lgbench" / "novelty.py").touch()
    try:
        kept, printed = lint(copied)
    finally:
        new.unlink()
    assert not kept["layers"]
    assert "- lgbench.novelty" in printed


def test_every_contract_is_tested() -> None:
    assert BROKEN.keys() == {each["id"] for each in CONTRACTS}


def test_contributing_places_every_module_where_it_is() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M)
    told = {
        name.removeprefix("lgbench/").removesuffix(".py").rstrip("/"): int(layer)
        for layer, modules in rows
        for name in re.findall(r"`(.*?)`", modules)
    }
    layers = enumerate(reversed(CONTRACTS[0]["layers"]))
    assert told == {name.strip(): number for number, layer in layers for name in layer.split(":")}
