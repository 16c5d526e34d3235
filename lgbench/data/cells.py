"""The examples of a cell, drawn from its key, and the committed hashes that pin them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example, Stream, Task
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.errors import LgbenchError
from lgbench.util.records import json_line

FixedSplit = Literal["test", "dev", "shots"]
DEV_EXAMPLES = 64
SHOTS_EXAMPLES = 16
# A sampler that finds nothing new in so many rounds has run out of prompts.
_MAX_ROUNDS = 1000


def draw_cell(suite: Suite, task: str, length: int, *, split: FixedSplit = "test") -> list[Example]:
    """The examples of one cell, by index.

    They depend on the suite's name, the split, the task, its version and the length only. Prompts are distinct;
    `dev` (for training curves) and `shots` (for few-shot prompts) never hold a prompt of the test cell. A test cell has
    `suite.examples_per_cell` examples, a dev cell 64, a shots cell 16.

    Raises:
        LgbenchError: The task has no prompts of this length, or too few.
    """
    definition = suite.task(task)
    definition.check_length(length)
    count = {"test": suite.examples_per_cell, "dev": DEV_EXAMPLES, "shots": SHOTS_EXAMPLES}[split]
    held_out = frozenset() if split == "test" else held_out_prompts(suite, task, length)
    stream = Stream("lgbench", suite.name, split, task, definition.version, length)
    prompts = draw_prompts(stream, definition, length, count, split=split, held_out=held_out, distinct=True)
    solve = definition.solve
    return [Example(task, length, index, prompt, solve(prompt)) for index, prompt in enumerate(prompts)]


def draw_prompts(
    stream: Stream, task: Task, length: int, count: int, *, split: str, held_out: frozenset[str], distinct: bool
) -> list[str]:
    """`count` prompts that are not held out (and, if `distinct`, differ), redrawing until there are enough.

    Raises:
        LgbenchError: The task has too few such prompts.
    """
    sample = task.sampler(split)
    prompts: list[str] = []
    for _ in range(_MAX_ROUNDS):
        drawn = sample(stream, length, count - len(prompts))
        prompts += [prompt for prompt in (dict.fromkeys(drawn) if distinct else drawn) if prompt not in held_out]
        if len(prompts) == count:
            return prompts
        if distinct:
            held_out = held_out.union(prompts)
    raise LgbenchError(f"{task.name} has too few prompts of length {length} to draw {count} for its {split} split.")


# Whoever draws other splits of a cell asks for the same ones again.
@lru_cache(maxsize=8)
def held_out_prompts(suite: Suite, task: str, length: int) -> frozenset[str]:
    """The prompts of a test cell; empty where the suite has none at this length."""
    if length not in suite.grid(task):
        return frozenset()
    return frozenset(example.prompt for example in draw_cell(suite, task, length))


def limited_indices(suite: Suite, cell: Cell, limit: int) -> list[int]:
    """Which examples `--limit N` keeps: the first N of a keyed permutation of the cell, in ascending order."""
    version = suite.task(cell.task).version
    stream = Stream("lgbench", suite.name, "limit", cell.task, version, cell.length)
    return sorted(stream.permutation(suite.examples_per_cell)[:limit].tolist())


def evaluated(suite: Suite, cell: Cell, examples: list[Example], limit: int | None) -> list[Example]:
    """Those of a test cell's examples that a run with this limit evaluates, by index."""
    return examples if limit is None else [examples[index] for index in limited_indices(suite, cell, limit)]


def cell_digest(examples: Iterable[Example]) -> str:
    """SHA-256 (hex) over one JSON line `[prompt, target]` for each example, by index."""
    lines = (json_line(example.prompt, example.target) for example in examples)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def checked_cell(suite: Suite, cell: Cell) -> list[Example]:
    """The examples of a test cell, after checking them against the committed hash. A draft suite has none.

    Raises:
        LgbenchError: They differ: this installation does not draw the published examples.
    """
    examples = draw_cell(suite, cell.task, cell.length)
    if suite.draft is not None:
        return examples
    found, committed = cell_digest(examples), committed_digest(suite, cell)
    if found != committed:
        raise LgbenchError(
            f"The examples of {cell} in {suite.name} are not the published ones (task version "
            f"{suite.task(cell.task).version}, NumPy {np.__version__}: {found[:12]}, committed: {committed[:12]}). "
            "If you changed a task or a suite, run `lgbench suites lock`. If not, reinstall lgbench, and if that does "
            "not help, report it: no result of this installation would count."
        )
    return examples


def committed_digest(suite: Suite, cell: Cell) -> str:
    """The committed SHA-256 of a test cell, or "none" where it has none yet."""
    return _lock(lock_path(suite)).get(_lock_key(suite, cell), "none")


def recorded_digest(suite: Suite, cell: Cell) -> str:
    """The SHA-256 of a test cell that a result records: the committed one; of a draft suite, that of what it draws."""
    return committed_digest(suite, cell) if suite.draft is None else _drawn_digest(suite, cell)


@lru_cache(maxsize=4096)
def _drawn_digest(suite: Suite, cell: Cell) -> str:
    return cell_digest(draw_cell(suite, cell.task, cell.length))


def lock_path(suite: Suite) -> Path:
    """Where the hashes of a suite are committed."""
    return Path(__file__).parent / "locks" / f"{suite.name}.json"


@cache
def _lock(path: Path) -> dict[str, str]:
    return dict(json.loads(path.read_text("ascii"))) if path.exists() else {}


def _lock_key(suite: Suite, cell: Cell) -> str:
    return f"{cell.task}@{suite.task(cell.task).version}/{cell.length}"


def derive_lock(suite: Suite, report: CountReport = no_report) -> dict[str, str]:
    """The SHA-256 of every test cell of a suite, drawn afresh, by `task@version/length`.

    Args:
        suite: The suite.
        report: Takes how many cells are drawn, and of how many.
    """
    cells = counted(suite.cells(), report)
    return {_lock_key(suite, cell): cell_digest(draw_cell(suite, cell.task, cell.length)) for cell in cells}


def lock_text(lock: dict[str, str]) -> str:
    """A lock as committed: JSON, one cell a line, in suite order."""
    return json.dumps(lock, indent=1) + "\n"
