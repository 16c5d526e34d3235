"""The leaderboard with many systems: made up in memory, scored, and written as files and as a web page.

The systems have results and no replies, so what re-scoring costs is measured on the committed submissions.
"""

from __future__ import annotations

import gzip
import random
import resource
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from lgbench.data.cells import committed_digest
from lgbench.data.groups import Group
from lgbench.data.suites import Cell, load_suite
from lgbench.data.tasks import get_task
from lgbench.leaderboard.build import derive_files
from lgbench.leaderboard.scored import score_submission
from lgbench.leaderboard.site import front, groups
from lgbench.leaderboard.site.build import renderer
from lgbench.leaderboard.standings import list_systems
from lgbench.results.schema import CellCounts, CellResult, Environment, FirstWrong, Result, SystemInfo
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.checking import read_submissions
from lgbench.submissions.system import SystemRecord

MINI = load_suite("mini-v1")
_ARMS = ("main_only", "transfer", "control")
_FIRST_PAGE = ("site.css", "theme.js", "board.js")


def synthetic(count: int, *, seeds: int, distinct: int) -> list[Submission]:
    """Systems with runs of three arms in every group of `mini-v1`: always the same ones.

    Args:
        count: Systems.
        seeds: Of each arm and group.
        distinct: Systems whose results differ; the others have theirs, under other names.
    """
    made = [_runs(number, seeds) for number in range(min(count, distinct))]
    return [
        Submission(system=_record(f"synthetic-{number:04}"), runs=made[number % len(made)]) for number in range(count)
    ]


def _record(name: str) -> SystemRecord:
    return SystemRecord(
        name=name,
        description="Made up for a measurement.",
        authors=("Nobody",),
        link=None,
        licence="CC0-1.0",
        parameters=1_000_000,
        training_notes="",
        reproduced_by=None,
    )


def _runs(number: int, seeds: int) -> tuple[SubmittedRun, ...]:
    numbers = random.Random(number)
    skill = numbers.uniform(0.1, 1)
    return tuple(
        SubmittedRun(f"{group.name}-{arm}-{seed}", _result(group, arm, seed, skill * numbers.uniform(0.7, 1)))
        for group in MINI.groups
        for arm in _ARMS
        for seed in range(seeds)
    )


def _result(group: Group, arm: str, seed: int, skill: float) -> Result:
    cells = tuple(
        _cell(cell, group, skill if arm == "transfer" else skill / 4) for cell in MINI.cells(arm, (group.name,))
    )
    return Result(
        suite=MINI.name,
        arm=arm,
        group=group.name,
        seed=seed,
        limit=None,
        system=SystemInfo(model="model.py:Model", kind="file"),
        cells=cells,
        replies_sha256="0" * 64,
        batch_invariance=None,
        environment=Environment(lgbench="0.1.0", python="3.11.7", numpy="2.0.0", platform="Linux x86_64"),
        started=datetime(2026, 1, 31, 12, tzinfo=UTC),
        duration=1.0,
        replies_per_second=256.0,
    )


def _cell(cell: Cell, group: Group, skill: float) -> CellResult:
    """Right up to the main task's training length, and less and less from there."""
    total = MINI.examples_per_cell
    beyond = max(0, cell.length - group.main_length) / group.aux_length
    correct = total if not beyond else round(total * max(0.0, skill - beyond))
    wrong = total - correct
    return CellResult(
        task=cell.task,
        task_version=get_task(cell.task).version,
        length=cell.length,
        sha256=committed_digest(MINI, cell),
        counts=CellCounts(
            total=total,
            correct=correct,
            starts_with_target=0,
            empty=0,
            early=0,
            chars_correct=10 * correct,
            chars_total=10 * total,
            first_wrong=(FirstWrong(position=0, count=wrong),) if wrong else (),
        ),
    )


def many(count: int, *, seeds: int, distinct: int) -> Iterator[str]:
    """The time and memory of the board of made-up systems, and the sizes of its pages."""
    submissions = synthetic(count, seeds=seeds, distinct=distinct)
    runs = sum(len(each.runs) for each in submissions)
    yield f"{count:,} systems made up, {runs:,} runs; peak memory {_peak():,.0f} MB"
    begun = time.process_time()
    scores = [each for submission in submissions for each in score_submission(submission)]
    yield f"scored in {_since(begun)}, {1000 * (time.process_time() - begun) / count:.0f} ms a system"
    begun = time.process_time()
    files = derive_files(submissions)
    size = sum(map(len, files.values())) / 1e6
    yield f"board derived in {_since(begun)} (scoring included): {len(files):,} files, {size:,.1f} MB"
    yield f"README.md {len(files['README.md']) / 1e3:,.0f} kB, board.json {len(files['board.json']) / 1e6:,.1f} MB"
    begun = time.process_time()
    listed = list_systems(MINI, scores)
    render = renderer([MINI])
    page = render("index.html", "", **front.front_page([listed]))
    yield f"front page of the site in {_since(begun)}: {_sizes(page)}; {_with_assets(page)} with style and scripts"
    begun = time.process_time()
    group = MINI.groups[0]
    page = render("group.html", "../", **groups.group_page(listed, group))
    yield f"page of a group in {_since(begun)}: {_sizes(page)}"
    yield f"peak memory {_peak():,.0f} MB"


def _with_assets(page: bytes) -> str:
    assets = Path(front.__file__).parent / "assets"
    packed = sum(len(gzip.compress(data)) for data in (page, *((assets / name).read_bytes() for name in _FIRST_PAGE)))
    return f"{packed / 1e3:,.0f} kB packed"


def _sizes(page: bytes) -> str:
    return f"{len(page) / 1e3:,.0f} kB, {len(gzip.compress(page)) / 1e3:,.0f} kB packed"


def checks(submissions: Path) -> Iterator[str]:
    """A full check of real submissions by one process and by two, which must find the same."""
    seconds = {}
    for jobs in (1, 2):
        begun = time.perf_counter()
        found = read_submissions(submissions, jobs=jobs)
        seconds[jobs] = time.perf_counter() - begun
        runs = sum(len(each.runs) for each in found)
        yield f"{runs} runs checked by {jobs} process{'es' if jobs > 1 else ''} in {seconds[jobs]:.1f} s"
    yield f"two processes are {seconds[1] / seconds[2]:.2f} times as fast as one"


def _since(begun: float) -> str:
    return f"{time.process_time() - begun:.1f} s of one core"


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
