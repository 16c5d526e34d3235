"""The leaderboard with many systems, made up one after another: derived, put together, and built after one new system.

The systems have results and no true replies, so what re-scoring costs is measured on the committed submissions.
"""

from __future__ import annotations

import gzip
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from lgbench.data.groups import Group
from lgbench.data.suites import Cell
from lgbench.leaderboard.build import BOARD_FILE, CELLS_FILE, FRONT_PAGE, BoardFiles
from lgbench.leaderboard.derive import derive_part
from lgbench.leaderboard.scored import score_submission
from lgbench.leaderboard.site import front, groups
from lgbench.leaderboard.site.build import renderer
from lgbench.leaderboard.standings import list_systems
from lgbench.results.schema import Result
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.checking import read_submissions
from lgbench.submissions.copies import trace
from lgbench.submissions.kept import FoundSystem, KeptScores
from lgbench.submissions.system import SystemRecord
from lgbench.util.errors import LgbenchError
from tests.made_up import MINI, make_result

_ARMS = ("main_only", "transfer", "control")
_FIRST_PAGE = ("site.css", "theme.js", "sort.js", "board.js")
_REPLIES = 24_000  # bytes of a run's packed replies, as most of the reference systems have


def synthetic(number: int, *, seeds: int) -> Submission:
    """A system with runs of three arms in every group of `mini-v1`: for a number always the same one."""
    return Submission(system=_record(f"synthetic-{number:04}"), runs=_runs(number, seeds))


def _record(name: str) -> SystemRecord:
    return SystemRecord(
        name=name,
        description="Made up for a measurement.",
        authors=("Nobody",),
        link=None,
        licence="CC0-1.0",
        parameters=1_000_000,
        training_notes="",
    )


def _runs(number: int, seeds: int) -> tuple[SubmittedRun, ...]:
    numbers = random.Random(number)
    skill = numbers.uniform(0.1, 1)
    kinds = [(group, arm, seed) for group in MINI.groups for arm in _ARMS for seed in range(seeds)]
    return tuple(
        SubmittedRun(
            f"{group.name}-{arm}-{seed}",
            _result(group, arm, seed, skill * numbers.uniform(0.7, 1), number * len(kinds) + place),
        )
        for place, (group, arm, seed) in enumerate(kinds)
    )


def _result(group: Group, arm: str, seed: int, skill: float, number: int) -> Result:
    return make_result(
        partial(_correct, group=group, skill=skill if arm == "transfer" else skill / 4),
        arm=arm,
        group=group.name,
        seed=seed,
        replies_sha256=f"{number:064x}",
        started=datetime(2025, 1, 31, 12, tzinfo=UTC) + timedelta(seconds=number),
    )


def _correct(cell: Cell, *, group: Group, skill: float) -> int:
    """All up to the main task's training length, and less and less from there."""
    total = MINI.examples_per_cell
    beyond = max(0, cell.length - group.main_length) / group.aux_length
    return round(total * max(0.0, skill - beyond)) if beyond else total


def many(count: int, *, seeds: int) -> Iterator[str]:
    """The time and memory of the board of made-up systems, of which one is held at a time."""
    begun = time.process_time()
    parts = [derive_part(synthetic(number, seeds=seeds)) for number in range(count)]
    runs = count * seeds * len(_ARMS) * len(MINI.groups)
    each = 1000 * (time.process_time() - begun) / count
    yield f"{count:,} systems, {runs:,} runs, made up and derived in {_since(begun)}, {each:.0f} ms a system"
    size = sum(len(block) for part in parts for block in part) / 1e6
    yield f"their parts of the board: {size:,.1f} MB; peak memory {_peak():,.0f} MB"
    begun = time.process_time()
    files = BoardFiles(parts)
    sizes = {path: sum(map(len, files.pieces(path))) for path in files}
    yield f"board put together in {_since(begun)}: {len(files):,} files, {sum(sizes.values()) / 1e6:,.1f} MB"
    yield (
        f"README.md {sizes[FRONT_PAGE] / 1e3:,.0f} kB, board.json {sizes[BOARD_FILE] / 1e6:,.1f} MB, "
        f"cells.csv {sizes[CELLS_FILE] / 1e6:,.1f} MB; peak memory {_peak():,.0f} MB"
    )


def pages(count: int, *, seeds: int) -> Iterator[str]:
    """The time and sizes of two pages of the site, which shows curves and so holds every result."""
    submissions = (synthetic(number, seeds=seeds) for number in range(count))
    scores = [each for submission in submissions for each in score_submission(submission)]
    begun = time.process_time()
    listed = list_systems(MINI, scores)
    render = renderer([MINI])
    page = render("index.html", "", **front.front_page([listed]))
    yield f"front page of the site in {_since(begun)}: {_sizes(page)}; {_with_assets(page)} with style and scripts"
    begun = time.process_time()
    group = MINI.groups[0]
    page = render("group.html", "../", **groups.group_page(listed, group))
    yield f"page of a group in {_since(begun)}: {_sizes(page)}"


def incremental(count: int, *, seeds: int, newcomer: Path) -> Iterator[str]:
    """What `lgbench leaderboard build` costs after one real system has joined made-up ones that are kept."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        kept = KeptScores(root / "cache" / "scores")
        purpose = f"{derive_part.__module__}.{derive_part.__qualname__}"
        for number in range(count):
            submission = synthetic(number, seeds=seeds)
            folder = root / "submissions" / submission.system.name
            _write(submission, folder)
            traces = {run.folder: trace(run.result) for run in submission.runs}
            key = kept.system_key(folder, (), purpose)
            assert key is not None
            kept.put_system(key, FoundSystem(traces, tuple(derive_part(submission))))
        yield _built(root, "first build of systems that are kept")
        shutil.copytree(newcomer, root / "submissions" / newcomer.name)
        yield _built(root, "build after one new system")
        yield _built(root, "check of the same", "--check")


def _write(submission: Submission, folder: Path) -> None:
    """A system as files. Its replies are as many bytes as true ones have, and nothing else."""
    for run in submission.runs:
        (folder / run.folder).mkdir(parents=True)
        (folder / run.folder / "result.json").write_text(run.result.to_json(), encoding="utf-8")
        replies = random.Random(run.result.replies_sha256).randbytes(_REPLIES)
        (folder / run.folder / "replies.jsonl.gz").write_bytes(replies)
    (folder / "system.json").write_text(submission.system.model_dump_json(), encoding="utf-8")


def _built(root: Path, what: str, *options: str) -> str:
    """The time and memory of a build in a process of its own."""
    command = [sys.executable, "-m", "lgbench", "leaderboard", "build", "--jobs", "1", *options]
    begun = time.perf_counter()
    environment = os.environ | {"LGBENCH_CACHE": str(root / "cache")}
    with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise LgbenchError(f"lgbench leaderboard build {' '.join(options)} failed with {process.returncode}.")
    seconds, used = time.perf_counter() - begun, usage.ru_utime + usage.ru_stime
    return f"{what}: {used:.1f} s of one core, {seconds:.1f} s in all, {usage.ru_maxrss / 1024:,.0f} MB"


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
