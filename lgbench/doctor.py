"""Layer 4: does a model honour the contract, and how long would it take? Each finding says what to change."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from lgbench.cells import checked_cell, draw_prompts
from lgbench.errors import LgbenchError, ModelError
from lgbench.models.contract import CappedReply, Predictor, ask, prepare
from lgbench.models.loaded import Model
from lgbench.models.recorded import RecordedReplies
from lgbench.running.planning import make_plan
from lgbench.suites import SUITES, Cell, Suite
from lgbench.task import Stream
from lgbench.tasks import get_task

FEW = 6
BATCH_SIZES = (1, 4, 16, 64, 256)
SPEED_BUDGET = 30.0
"""Seconds after which no larger batch is tried."""
_SAMPLES_PER_CELL = 4

State = Literal["ok", "warning", "problem"]


class Finding(NamedTuple):
    """What one check found.

    Attributes:
        check: What was looked at.
        state: `warning`: it works, but read this. `problem`: results would be wrong or missing.
        detail: What was seen.
        advice: What to change; empty where nothing needs it.
    """

    check: str
    state: State
    detail: str
    advice: str = ""


def examine(model: Model, *, suite: Suite, tasks: Sequence[str] = ()) -> Iterator[Finding]:
    """Check a loaded model, a finding at a time. Stops early where going on would make no sense.

    Args:
        model: The model.
        suite: The suite whose prompts are asked.
        tasks: Those to ask; empty for all of the suite.

    Raises:
        UnknownNameError: The suite has no such task.
    """
    plan = make_plan(suite, tasks=tasks)
    names = list(dict.fromkeys(cell.task for cell in plan.cells))
    if isinstance(model.predictor, RecordedReplies):
        yield _coverage(model.predictor, suite, names)
        return
    try:
        prepare(model.predictor, suite, names)
        yield Finding("accepts the tasks", "ok", f"{len(names)} of {suite.name}")
        yield from _contract(model.predictor, suite, names[0])
        yield _longest_prompt(model.predictor, suite, names)
        yield from _speed(model.predictor, suite, names)
    except LgbenchError as error:
        shown = error.user_traceback if isinstance(error, ModelError) else ""
        yield Finding("works", "problem", str(error), shown.strip() or "Mend this and run the doctor again.")


def _coverage(replies: RecordedReplies, suite: Suite, tasks: Sequence[str]) -> Finding:
    cells = [cell for cell in suite.cells() if cell.task in tasks]
    complete = 0
    first_gap = ""
    for cell in cells:
        try:
            replies.lookup([example.id for example in checked_cell(suite, cell)])
            complete += 1
        except LgbenchError as error:
            first_gap = first_gap or str(error)
    state: State = "ok" if complete == len(cells) else "warning" if complete else "problem"
    return Finding("replies recorded", state, f"{complete} of {len(cells)} cells are complete", first_gap)


def _contract(predictor: Predictor, suite: Suite, task: str) -> Iterator[Finding]:
    """Count, type, order, repetition, batch size, batch composition, empty input."""
    short, longer = (checked_cell(suite, cell)[:FEW] for cell in _two_cells(suite, task))
    prompts = [example.prompt for example in short]
    first = ask(predictor, prompts, task)
    right = sum(reply == example.target for reply, example in zip(first, short, strict=True))
    yield Finding("one reply for each prompt", "ok", f"{len(first)} strings for {len(prompts)} {task} prompts")
    yield Finding("a reply", "ok", f"{prompts[0]!r} got {first[0][:80]!r}; {right} of {len(first)} are right")

    yield _same(
        "the same on a repeat", first, ask(predictor, prompts, task), "Decode greedily, or fix the seed of each reply."
    )
    backwards = ask(predictor, prompts[::-1], task)
    if backwards == first and len(set(first)) > 1:
        advice = "Return the replies in the order of the prompts."
        yield Finding("in the order of the prompts", "problem", "reversing the prompts changed nothing", advice)
    else:
        yield _same("in the order of the prompts", first, backwards[::-1], "Return the replies in the prompts' order.")
    alone = [ask(predictor, [prompt], task)[0] for prompt in prompts]
    advice = "Mask padding, use float32, or pad nothing: results that depend on the batch are hard to reproduce."
    yield _same("the same one by one", first, alone, advice, otherwise="warning")
    mixed = ask(
        predictor, [prompt for pair in zip(prompts, longer, strict=True) for prompt in (pair[0], pair[1].prompt)], task
    )
    yield _same("the same among longer prompts", first, mixed[::2], advice, otherwise="warning")
    yield _empty(predictor, task)


def _two_cells(suite: Suite, task: str) -> tuple[Cell, Cell]:
    return Cell(task, suite.grid(task)[1]), Cell(task, suite.grid(task)[3])


def _same(
    check: str, wanted: Sequence[str], got: Sequence[str], advice: str, *, otherwise: State = "problem"
) -> Finding:
    changed = [(before, after) for before, after in zip(wanted, got, strict=True) if before != after]
    if not changed:
        return Finding(check, "ok", f"{len(wanted)} of {len(wanted)} replies are equal")
    before, after = changed[0]
    detail = f"{len(changed)} of {len(wanted)} replies changed, as from {before[:40]!r} to {after[:40]!r}"
    return Finding(check, otherwise, detail, advice)


def _empty(predictor: Predictor, task: str) -> Finding:
    try:
        ask(predictor, [], task)
    except ModelError as error:
        return Finding("no prompts, no replies", "warning", str(error), "Return [] for []; lgbench never asks it.")
    return Finding("no prompts, no replies", "ok", "[] for []")


def _longest_prompt(predictor: Predictor, suite: Suite, tasks: Sequence[str]) -> Finding:
    """The longest prompt of the suite among these tasks."""
    cells = [Cell(task, suite.grid(task)[-1]) for task in tasks]
    longest = max(
        (example for cell in cells for example in checked_cell(suite, cell)), key=lambda each: len(each.prompt)
    )
    begun = time.perf_counter()
    (reply,) = ask(predictor, [longest.prompt], longest.task)
    seconds = time.perf_counter() - begun
    detail = f"{len(longest.prompt)} characters of {longest.task}: {len(reply)} back in {seconds:.2f} s"
    if isinstance(reply, CappedReply):
        return Finding(
            "the longest prompt", "warning", f"{detail}, ended by the cap", "Does the model write its end token?"
        )
    return Finding("the longest prompt", "ok", detail)


class Pace(NamedTuple):
    """How fast a model answered."""

    batch_size: int
    replies_per_second: float
    seconds_per_character: float


def _speed(predictor: Predictor, suite: Suite, tasks: Sequence[str]) -> Iterator[Finding]:
    task = tasks[0]
    length = suite.grid(task)[len(suite.grid(task)) // 2]
    prompts = [example.prompt for example in checked_cell(suite, Cell(task, length))]
    paces: list[Pace] = []
    begun = time.perf_counter()
    for size in (size for size in BATCH_SIZES if size <= len(prompts)):
        if paces and time.perf_counter() - begun + size / paces[-1].replies_per_second > SPEED_BUDGET:
            yield Finding(f"batch size {size}", "ok", f"not tried: the checks of speed end after {SPEED_BUDGET:.0f} s")
            break
        started = time.perf_counter()
        ask(predictor, prompts[:size], task)
        seconds = max(time.perf_counter() - started, 1e-6)
        paces.append(Pace(size, size / seconds, seconds / sum(map(len, prompts[:size]))))
        detail = f"{paces[-1].replies_per_second:,.1f} replies/s on {task} at length {length}; {_memory()}"
        yield Finding(f"batch size {size}", "ok", detail)
    best = max(paces, key=lambda pace: pace.replies_per_second)
    for each in SUITES:
        seconds = best.seconds_per_character * _characters(each, tasks)
        detail = f"about {_duration(seconds)} at batch size {best.batch_size}, if time grows with the prompts' length"
        yield Finding(f"time for {each.name}", "ok", detail)


def _memory() -> str:
    if sys.platform == "win32":
        return "memory not known"
    import resource

    unit = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    text = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:,.0f} MB of memory at most so far"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        text += f", {torch.cuda.max_memory_allocated() / 1e6:,.0f} MB on the GPU"
    return text


def _characters(suite: Suite, tasks: Sequence[str]) -> float:
    """Characters of all test prompts of these tasks, from a few prompts of each cell."""
    total = 0.0
    for cell in suite.cells():
        if cell.task in tasks:
            stream = Stream("lgbench", suite.name, "doctor", cell.task, cell.length)
            drawn = draw_prompts(
                stream, get_task(cell.task), cell.length, _SAMPLES_PER_CELL,
                split="dev", held_out=frozenset(), distinct=False,
            )  # fmt: skip
            total += suite.examples_per_cell * sum(map(len, drawn)) / len(drawn)
    return total


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
