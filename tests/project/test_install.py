"""The core installs and works without any extra, torch among them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lgbench.util.extras import EXTRAS

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a new virtual environment that holds the core alone, from the index that pip is set to."""
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = str(folder / "bin" / "pip")
    constraints = str(ROOT / "constraints.txt")
    command = [pip, "install", "--quiet", "--no-compile", "-c", constraints, str(ROOT)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode != 0 and "after connection broken by" in done.stderr:
        pytest.skip(f"the package index cannot be reached: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=folder, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.nightly
def test_the_core_works_without_torch(bare: Path, tmp_path: Path) -> None:
    for package in ("torch", "transformers", "matplotlib"):
        missing = subprocess.run([bare / "python", "-c", f"import {package}"], capture_output=True, check=False)
        assert missing.returncode != 0, f"{package} came with the core"
    model = f"{ROOT / 'examples' / 'my_model.py'}:MyModel"
    summary = json.loads(run(bare / "lgbench", "eval", model, "--json", "--output", "run", folder=tmp_path))
    assert (summary["partial"], summary["total"]) == (False, 34_048)
    (tmp_path / "submissions").mkdir()
    run(bare / "lgbench", "submit", "run", "--name", "rules", "--description", "Rules.", "--authors", "Us",
        "--licence", "Apache-2.0", folder=tmp_path)  # fmt: skip
    assert "1 system" in run(bare / "lgbench", "validate", folder=tmp_path)
    run(bare / "lgbench", "leaderboard", "build", folder=tmp_path)
    assert "rules" in (tmp_path / "leaderboard" / "README.md").read_text("utf-8")
    run(bare / "lgbench", "leaderboard", "build", "--check", folder=tmp_path)


@pytest.mark.nightly
def test_every_command_shows_its_help_without_an_extra(bare: Path, tmp_path: Path) -> None:
    tried = run(bare / "python", "-I", ROOT / "tools" / "try_commands.py", tmp_path, folder=tmp_path)
    assert re.fullmatch(r"Tried \d+ modules, \d+ helps\.\n", tried)


def test_a_package_that_nothing_brings_is_noticed(tmp_path: Path) -> None:
    script = str(ROOT / "tools" / "try_commands.py")
    code = (
        "import runpy, sys\n"
        "sys.modules['tabulate'] = None\n"
        f"sys.argv = [{script!r}, {str(tmp_path)!r}]\n"
        f"runpy.run_path({script!r}, run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 1
    assert "import of tabulate halted" in done.stderr


def test_what_an_extra_is_asked_for_is_what_it_installs() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert extras.keys() == EXTRAS.keys() | {"all", "peers", "docs", "dev", "release"}
    for extra, packages in EXTRAS.items():
        # As in "openai[aiohttp]>=3.0". The adapters of peft are asked for apart.
        named = {name for each in extras[extra] for name in re.findall(r"[a-z][a-z0-9-]*", each)}
        installed = {"sklearn" if name == "scikit-learn" else name for name in named} - {"peft"}
        assert set(packages) == installed
