"""How fast a model answers in batches, and how long each suite would take."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from lgbench.data.cells import checked_cell, draw_prompts
from lgbench.data.suites import SUITES, Cell, Suite
from lgbench.data.task import Stream
from lgbench.doctor.findings import Clock, Finding
from lgbench.evaluation.environment import peak_memory
from lgbench.models.contract import DEFAULT_BATCH_SIZE, Predictor
from lgbench.models.safe_call import ask, own_batch_size
from lgbench.util.errors import ModelError
from lgbench.util.text import duration

BATCH_SIZES = (1, 4, 16, 64, 256)
_SAMPLES_PER_CELL = 4


class _Pace(NamedTuple):
    batch_size: int
    replies_per_second: float
    seconds_per_character: float


def measure_speed(predictor: Predictor, suite: Suite, tasks: Sequence[str], clock: Clock) -> Iterator[Finding]:
    """Time batches of growing size on prompts of middle length, and project each suite from the best of them.

    One prompt is always asked; a larger batch only while the clock has time for it, and none larger than the model
    says that it takes.

    Raises:
        ModelError: The model failed with no more prompts than `lgbench eval` gives it.
    """
    task = tasks[0]
    length = suite.grid(task)[len(suite.grid(task)) // 2]
    prompts = [example.prompt for example in checked_cell(suite, Cell(task, length))]
    paces: list[_Pace] = []
    own = own_batch_size(predictor)
    for size in (size for size in BATCH_SIZES if size <= (own or len(prompts))):
        if paces and not clock.has(likely := size / paces[-1].replies_per_second):
            yield Finding(f"batch size {size}", "untried", f"it might take {duration(likely)}")
            break
        started = time.perf_counter()
        try:
            ask(predictor, prompts[:size], task)
        except ModelError as error:
            if size <= (own or DEFAULT_BATCH_SIZE):
                raise
            advice = f"lgbench asks {DEFAULT_BATCH_SIZE} prompts at once unless --batch-size says otherwise."
            yield Finding(f"batch size {size}", "warning", str(error), advice)
            break
        seconds = max(time.perf_counter() - started, 1e-6)
        paces.append(_Pace(size, size / seconds, seconds / sum(map(len, prompts[:size]))))
        detail = f"{paces[-1].replies_per_second:,.1f} replies/s on {task} at length {length}; {_memory()}"
        yield Finding(f"batch size {size}", "ok", detail)
    best = max(paces, key=lambda pace: pace.replies_per_second)
    for each in SUITES if suite.draft is None else (suite,):
        seconds = best.seconds_per_character * _characters(each, tasks)
        detail = f"about {duration(seconds)} at batch size {best.batch_size}, if time grows with the prompts' length"
        yield Finding(f"time for {each.name}", "ok", detail)


def _memory() -> str:
    held = peak_memory()
    text = "memory not known" if held is None else f"{held / 1e6:,.0f} MB of memory at most so far"
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        # A model may lie on any of them, or on several.
        on_gpus = sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count())))
        text += f", {on_gpus / 1e6:,.0f} MB on the GPU"
    return text


def _characters(suite: Suite, tasks: Sequence[str]) -> float:
    """Characters of all test prompts of these tasks, from a few prompts of each cell."""
    total = 0.0
    for cell in suite.cells():
        if cell.task in tasks:
            stream = Stream("lgbench", suite.name, "doctor", cell.task, cell.length)
            drawn = draw_prompts(
                stream, suite.task(cell.task), cell.length, _SAMPLES_PER_CELL,
                split="dev", held_out=frozenset(), distinct=False,
            )  # fmt: skip
            total += suite.examples_per_cell * sum(map(len, drawn)) / len(drawn)
    return total
