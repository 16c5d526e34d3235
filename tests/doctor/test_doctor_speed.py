"""What `lgbench doctor` says of time and memory, with a clock that only the model moves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from lgbench.data.suites import Suite, load_suite
from lgbench.doctor import speed
from lgbench.doctor.findings import Clock
from lgbench.doctor.speed import BATCH_SIZES, measure_speed
from lgbench.evaluation.environment import peak_memory
from lgbench.util.text import duration

MINI, STANDARD = load_suite("mini-v1"), load_suite("standard-v1")


class Timed:
    """A model that takes a time for each call and a time for each character of its prompts, by the clock it moves."""

    def __init__(self, *, call: float, character: float) -> None:
        self.now = 0.0
        self._call, self._character = call, character

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        self.now += self._call + self._character * sum(map(len, prompts))
        return ["" for _ in prompts]


def measured(monkeypatch: pytest.MonkeyPatch, model: Timed, *tasks: str) -> dict[str, str]:
    """The detail of each finding."""
    clock = SimpleNamespace(perf_counter=lambda: model.now)
    monkeypatch.setattr("lgbench.doctor.speed.time", clock)
    monkeypatch.setattr("lgbench.doctor.findings.time", clock)
    return {each.check: each.detail for each in measure_speed(model, MINI, tasks, Clock(1e9))}


def characters(suite: Suite, task: str) -> int:
    """Of all test prompts of a task on strings, which are a string and an = sign."""
    return sum(suite.examples_per_cell * (length + 1) for length in suite.grid(task))


def test_replies_a_second_are_those_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, Timed(call=0.5, character=0.001), "reverse")
    length = MINI.grid("reverse")[len(MINI.grid("reverse")) // 2]
    for size in BATCH_SIZES:
        rate = size / (0.5 + 0.001 * size * (length + 1))
        assert found[f"batch size {size}"].startswith(f"{rate:,.1f} replies/s on reverse at length {length}; ")


@pytest.mark.parametrize("suite", [MINI, STANDARD], ids=lambda suite: suite.name)
def test_the_time_for_a_suite_grows_with_its_characters(monkeypatch: pytest.MonkeyPatch, suite: Suite) -> None:
    found = measured(monkeypatch, Timed(call=0.0, character=0.01), "reverse", "capitalize")
    seconds = 0.01 * (characters(suite, "reverse") + characters(suite, "capitalize"))
    assert found[f"time for {suite.name}"].startswith(f"about {duration(seconds)} at batch size ")
    assert duration(seconds) != duration(seconds / 2)
    alone = measured(monkeypatch, Timed(call=0.0, character=0.01), "reverse")
    assert alone[f"time for {suite.name}"].startswith(f"about {duration(0.01 * characters(suite, 'reverse'))} at ")


def test_the_projection_is_from_the_fastest_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    length = MINI.grid("reverse")[len(MINI.grid("reverse")) // 2]
    found = measured(monkeypatch, Timed(call=4.0, character=0.001), "reverse")
    seconds = (0.001 + 4.0 / (256 * (length + 1))) * characters(MINI, "reverse")
    assert found["time for mini-v1"].startswith(f"about {duration(seconds)} at batch size 256, if time grows")
    model = Timed(call=4.0, character=0.001)
    model.batch_size = 4  # type: ignore[attr-defined]
    seconds = (0.001 + 4.0 / (4 * (length + 1))) * characters(MINI, "reverse")
    found = measured(monkeypatch, model, "reverse")
    assert found["time for mini-v1"].startswith(f"about {duration(seconds)} at batch size 4, if time grows")


def test_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "peak_memory", lambda: 1_234_567_890)
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it had not been loaded
    model = Timed(call=1, character=0)
    assert measured(monkeypatch, model, "reverse")["batch size 1"].endswith("; 1,235 MB of memory at most so far")
    monkeypatch.setattr(speed, "peak_memory", lambda: None)
    assert measured(monkeypatch, model, "reverse")["batch size 1"].endswith("; memory not known")
    peaks = [0, 2_345_678_901]
    gpu = SimpleNamespace(
        is_available=lambda: True, device_count=lambda: len(peaks), max_memory_allocated=peaks.__getitem__
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=gpu))
    assert measured(monkeypatch, model, "reverse")["batch size 1"].endswith("; memory not known, 2,346 MB on the GPU")


@pytest.mark.skipif(peak_memory() is None, reason="this system does not tell")
def test_the_memory_of_a_process_is_in_bytes() -> None:
    code = "from lgbench.evaluation.environment import peak_memory; x = b'x' * (2 * 10**9 // 5); print(peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert 0.4e9 < int(done.stdout) < 0.8e9


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="this system counts the peak once and for all")
def test_the_peak_is_counted_anew() -> None:
    code = "from lgbench.evaluation.environment import *; from lgbench.util.private_api import trim_heap; "
    code += "x = b'x' * (2 * 10**9 // 5); first = peak_memory(); del x; "
    code += "trim_heap(); reset_peak_memory(); print(first, peak_memory())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    first, later = map(int, done.stdout.split())
    assert later < first - 0.3e9
