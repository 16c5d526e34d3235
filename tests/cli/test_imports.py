"""What is loaded when. Each test shows first that it could fail."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SUBMISSIONS = Path(__file__).parents[2] / "submissions"
OF_EXTRAS = {"torch", "transformers", "peft", "openai", "aiohttp", "matplotlib", "pyarrow", "tensorboard"}
HEAVY = (*sorted(OF_EXTRAS), "scipy", "pandas", "numpy", "pydantic")


def loaded_after(*arguments: str, folder: Path | None = None, first: str = "") -> set[str]:
    """The heavy packages that a command, run in a folder, has loaded when it ends well.

    Args:
        arguments: The command.
        folder: Where it runs.
        first: A statement to run before it.
    """
    code = (
        f"import sys\n{first}\n"
        f"sys.argv = ['lgbench', *{list(arguments)!r}]\n"
        "import contextlib, io\n"
        "from lgbench.cli import main\n"
        "status = 0\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        status = end.code\n"
        "assert not status, status\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.nightly
def test_the_check_sees_what_is_loaded() -> None:
    assert {"numpy", "pydantic"} <= loaded_after("suites", "show")
    declared = (SUBMISSIONS.parent / "pyproject.toml").read_text("utf-8")
    assert all(name in declared for name in HEAVY), "a name that nobody bears is never loaded"
    installed = [name for name in HEAVY if importlib.util.find_spec(name) is not None]
    assert {"numpy", "pydantic", "scipy", "pandas"} <= set(installed)  # they come with lgbench itself
    assert loaded_after("--help", first=f"import {', '.join(installed)}") == set(installed)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["eval", "--help"],
        ["models", "--help"],
        ["suites", "show", "--help"],
        ["train", "--help"],
        ["retrain", "--help"],
        ["reproduce", "--help"],
        ["demo", "--help"],
        ["finetune", "--help"],
        ["sweep", "--help"],
        ["ablate", "--help"],
        ["plot", "--help"],
        ["doctor", "--help"],
        ["analyze", "--help"],
        ["analyze", "errors", "--help"],
        ["analyze", "heads", "--help"],
        ["analyze", "reuse", "--help"],
        ["analyze", "attention", "--help"],
        ["analyze", "confidence", "--help"],
        ["analyze", "points", "--help"],
        ["analyze", "relatedness", "--help"],
        ["export", "--help"],
        ["show", "--help"],
        ["errors", "--help"],
        ["export", "hf", "--help"],
        ["export", "lm-eval", "--help"],
        ["export", "dataset", "--help"],
        ["leaderboard", "build", "--help"],
        ["submit", "--help"],
        ["--version"],
    ],
)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    assert loaded_after(*arguments) == set()


def copy_one_group(folder: Path) -> None:
    """Submissions that are soon read: one system with its runs in one group."""
    system = SUBMISSIONS / "reference-nope"
    for run in system.glob("mini-v1-copy-mqar-*"):
        shutil.copytree(run, folder / system.name / run.name)
    shutil.copy(system / "system.json", folder / system.name)


@pytest.mark.parametrize(
    "arguments", [["eval", "oracle", "--limit", "1", "--output", "run"], ["validate"], ["leaderboard", "build"]]
)
def test_what_comes_with_extras_is_left_alone(arguments: list[str], tmp_path: Path) -> None:
    copy_one_group(tmp_path / "submissions")
    assert not loaded_after(*arguments, folder=tmp_path) & OF_EXTRAS
    assert (tmp_path / "run" / "result.json").exists() == (arguments[0] == "eval")
    assert (tmp_path / "leaderboard").exists() == (arguments[0] == "leaderboard")


def test_the_package_loads_nothing_until_a_name_is_used() -> None:
    code = "import sys, lgbench; assert 'evaluate' in dir(lgbench); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert not set(done.stdout.split()) & {*HEAVY, "tqdm", "rich", "typer"}


def test_a_result_loads_pandas_for_its_frame_alone() -> None:
    run = SUBMISSIONS / "reference-nope" / "mini-v1-copy-mqar-transfer-seed0"
    code = (
        f"import sys, lgbench; result = lgbench.load_results({str(run)!r})[0]; repr(result); result._repr_html_();"
        "print('pandas' in sys.modules); result.to_frame(); print('pandas' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["False", "True", "False"]


@pytest.mark.nightly
def test_scipy_is_loaded_where_a_statistic_is_needed_alone(tmp_path: Path) -> None:
    copy_one_group(tmp_path / "submissions")
    runs = sorted(str(path) for path in SUBMISSIONS.glob("reference-rope/*copy-mqar*"))
    without = (
        ["eval", "oracle", "--limit", "1", "--output", "run"],
        ["show", runs[0]],
        ["rescore", runs[0]],
        ["suites", "show"],
        ["tasks"],
    )
    for arguments in without:
        assert "scipy" not in loaded_after(*arguments, folder=tmp_path), arguments
    for arguments in (["compare", *runs], ["validate"], ["leaderboard", "build", "--full"]):
        assert "scipy" in loaded_after(*arguments, folder=tmp_path), arguments


def test_pictures_need_no_torch(tmp_path: Path) -> None:
    for folder in ("submissions", "docs"):
        shutil.copytree(SUBMISSIONS.parent / folder, tmp_path / folder)
    of = {"lengths": "submissions/reference-nope", "training": "docs/runs/reference-nope", "gap": "docs/sweeps"}
    for kind, place in of.items():
        assert "torch" not in loaded_after("plot", place, "--kind", kind, "-o", f"{kind}.svg", folder=tmp_path)
        assert (tmp_path / f"{kind}.svg").exists()
