"""Results made up for tests, with counts of the test's choice; and a folder of submissions, of real evaluations."""

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lgbench.cells import committed_digest
from lgbench.evaluation import evaluate
from lgbench.results import CellCounts, CellResult, Environment, FirstWrong, Result, SystemInfo
from lgbench.submissions.submitting import Details, submit
from lgbench.suites import Cell, load_suite
from lgbench.tasks import get_task
from tests.submitted import OTHER_SEED, RUN, RightUpTo


def make_counts(correct: int, total: int) -> CellCounts:
    """Counts whose wrong replies are all wrong at the first of 10 characters."""
    wrong = total - correct
    return CellCounts(
        total=total,
        correct=correct,
        starts_with_target=0,
        chars_correct=10 * correct,
        chars_total=10 * total,
        first_wrong=(FirstWrong(position=0, count=wrong),) if wrong else (),
    )


def make_result(
    correct: Callable[[Cell], int],
    *,
    arm: str = "open",
    group: str | None = None,
    seed: int | None = None,
    **fields: Any,
) -> Result:
    """A complete `mini-v1` result in which `correct(cell)` of each cell's 256 replies are right."""
    suite = load_suite("mini-v1")
    cells = tuple(
        CellResult(
            task=cell.task,
            task_version=get_task(cell.task).version,
            length=cell.length,
            sha256=committed_digest(suite, cell),
            counts=make_counts(correct(cell), suite.examples_per_cell),
        )
        for cell in suite.cells(arm, (group,) if group else ())
    )
    record: dict[str, Any] = {
        "suite": "mini-v1",
        "arm": arm,
        "group": group,
        "seed": seed,
        "limit": None,
        "system": SystemInfo(model="model.py:Model", kind="file"),
        "cells": cells,
        "replies_sha256": "0" * 64,
        "batch_invariance": None,
        "environment": Environment(lgbench="0.1.0", python="3.11.7", numpy="2.0.0", platform="Linux x86_64"),
        "started": datetime(2026, 1, 31, 12, tzinfo=UTC),
        "duration": 1.0,
        "replies_per_second": 256.0,
    }
    return Result(**(record | fields))


@pytest.fixture(name="make_result", scope="session")
def make_result_fixture() -> Callable[..., Result]:
    return make_result


@pytest.fixture(name="make_counts", scope="session")
def make_counts_fixture() -> Callable[[int, int], CellCounts]:
    return make_counts


@pytest.fixture(scope="session")
def run_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs, by the name of their folder in a submission: right up to length 4, and up to length 6."""
    root = tmp_path_factory.mktemp("runs")
    for seed, name in enumerate((RUN, OTHER_SEED)):
        model = RightUpTo(len("1234+1234=") + 4 * seed)
        evaluate(model, arm="main_only", group="add-multiply", seed=seed, output=root / name)
    return {name: root / name for name in (RUN, OTHER_SEED)}


@pytest.fixture(scope="session")
def good_submissions(run_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone") / "submissions"
    folder.mkdir()
    details = Details(description="Adds.", authors=("A. Nonymous",), licence="CC-BY-4.0")
    submit(list(run_folders.values()), name="my-system", details=details, submissions=folder)
    return folder


@pytest.fixture
def submissions(good_submissions: Path, tmp_path: Path) -> Path:
    """A good folder of submissions, for a test to spoil."""
    return Path(shutil.copytree(good_submissions, tmp_path / "submissions"))


@pytest.fixture
def system(submissions: Path) -> Path:
    """The one system in it."""
    return submissions / "my-system"
