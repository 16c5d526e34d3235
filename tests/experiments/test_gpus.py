"""Which of several GPUs a call sees: their number is made up, and threads stand for processes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Lock
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lgbench.experiments.executors import InProcessExecutor, ProcessesExecutor, open_executor

SECONDS = 60


class Witnesses:
    """Notes, for calls that must all be at work at the same time, which GPU the process of each was told to see."""

    def __init__(self) -> None:
        self.lock, self.at_work, self.shares = Lock(), list[str | None](), list[Counter[str | None]]()

    def pool(self, workers: int, context: Any, *, initializer: Any, initargs: tuple[int, str | None]) -> Any:
        assert workers == 1, "a process for each call"
        witnesses = self

        class Pool(ThreadPoolExecutor):
            def submit(self, call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
                if call is not os.getpid:  # which comes before each call, so that its process can be ended
                    with witnesses.lock:
                        witnesses.at_work.append(initargs[1])
                return super().submit(call, *args, **kwargs)

        return Pool(1)

    def ask(self, executor: ProcessesExecutor, jobs: int, rounds: int) -> list[Counter[str | None]]:
        """How many of as many calls as there are jobs saw each GPU, round by round."""

        def done() -> None:
            self.shares.append(Counter(self.at_work))
            self.at_work.clear()

        barrier = Barrier(jobs, action=done, timeout=SECONDS)
        with executor:
            for future in [executor.submit(barrier.wait) for _ in range(jobs * rounds)]:
                future.result(SECONDS)
        return self.shares


@pytest.fixture(name="witnesses")
def made_up_processes(monkeypatch: pytest.MonkeyPatch) -> Witnesses:
    witnesses = Witnesses()
    monkeypatch.setattr("lgbench.experiments.executors.ProcessPoolExecutor", witnesses.pool)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return witnesses


def opened(jobs: int, device: str, *, keep: bool = False) -> ProcessesExecutor:
    executor = open_executor("local", jobs=jobs, device=device, keep=keep)
    assert isinstance(executor, ProcessesExecutor)
    return executor


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("jobs", "count", "shares"),
    [
        (3, 3, {"0": 1, "1": 1, "2": 1}),
        (2, 4, {"0": 1, "1": 1}),
        (4, 2, {"0": 2, "1": 2}),
        (5, 2, {"0": 3, "1": 2}),
        (3, 1, {"0": 3}),
        (2, 0, {None: 2}),
    ],
)
def test_calls_at_work_share_the_gpus_evenly(
    witnesses: Witnesses,
    monkeypatch: pytest.MonkeyPatch,
    jobs: int,
    count: int,
    shares: dict[str | None, int],
    keep: bool,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert witnesses.ask(opened(jobs, "cuda", keep=keep), jobs, 3) == [shares] * 3


@pytest.mark.parametrize(
    ("visible", "count", "seen"),
    [("4,7", 2, {"4", "7"}), ("7, 4,", 2, {"7", "4"}), ("GPU-8f,GPU-2a,GPU-c1", 3, {"GPU-8f", "GPU-2a"})],
)
def test_only_the_visible_gpus_are_dealt_out(
    witnesses: Witnesses, monkeypatch: pytest.MonkeyPatch, visible: str, count: int, seen: set[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert witnesses.ask(opened(2, "cuda"), 2, 2) == [dict.fromkeys(seen, 1)] * 2


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_device_of_ones_own_choice_is_left_alone(
    witnesses: Witnesses, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert witnesses.ask(opened(2, device), 2, 1) == [{None: 2}]


def test_a_single_job_sees_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert isinstance(open_executor("local", jobs=1, device="cuda"), InProcessExecutor)
