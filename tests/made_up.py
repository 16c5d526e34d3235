"""Results made up for tests, with counts of the test's choice."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from lgbench.data.cells import committed_digest
from lgbench.data.suites import Cell, load_suite
from lgbench.data.tasks import get_task
from lgbench.results.schema import CellCounts, CellResult, Environment, FirstWrong, Result, SystemInfo

MINI = load_suite("mini-v1")


def make_counts(correct: int, total: int) -> CellCounts:
    """Counts whose wrong replies are all wrong at the first of 10 characters."""
    wrong = total - correct
    return CellCounts(
        total=total,
        correct=correct,
        starts_with_target=0,
        empty=0,
        early=0,
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


def group_results(group: str, right: Mapping[str, Sequence[int]]) -> list[Result]:
    """Results of arms of a group; each seed gets a number of replies right in every cell of the main task."""
    main = MINI.group(group).main

    def correct(n: int) -> Callable[[Cell], int]:
        return lambda cell: n if cell.task == main else 192

    return [
        make_result(correct(n), arm=arm, group=group, seed=seed)
        for arm, numbers in right.items()
        for seed, n in enumerate(numbers)
    ]
