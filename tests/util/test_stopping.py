"""Ctrl-C and SIGTERM: what saves its work on the one does so on the other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lgbench.util.stopping import heed_sigterm, interruptible

BOTH = (signal.SIGINT, signal.SIGTERM)


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in BOTH}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", BOTH)
def test_the_first_is_noted_and_raised_at_the_end(number: signal.Signals) -> None:
    heed_sigterm()
    before = [signal.getsignal(each) for each in BOTH]
    noted = []

    def work() -> None:
        with interruptible() as interrupted:
            noted.append(interrupted.is_set())
            signal.raise_signal(number)
            noted.append(interrupted.is_set())

    with pytest.raises(KeyboardInterrupt):
        work()
    assert noted == [False, True]
    assert [signal.getsignal(each) for each in BOTH] == before


@pytest.mark.parametrize("first", BOTH)
def test_a_second_ctrl_c_does_not_wait_but_a_second_sigterm_does(first: signal.Signals) -> None:
    after = []

    def work() -> None:
        with interruptible():
            signal.raise_signal(first)
            signal.raise_signal(signal.SIGTERM)
            after.append("SIGTERM")
            signal.raise_signal(signal.SIGINT)
            after.append("Ctrl-C")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert after == ["SIGTERM"]


def test_a_second_sigterm_does_not_disturb_what_saves_after_the_first() -> None:
    heed_sigterm()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGTERM)


def test_an_error_after_a_ctrl_c_does_not_hide_it() -> None:

    def work() -> None:
        with interruptible():
            signal.raise_signal(signal.SIGINT)
            raise ValueError

    with pytest.raises(KeyboardInterrupt) as raised:
        work()
    assert isinstance(raised.value.__cause__, ValueError)


def test_a_handler_of_somebody_else_stays_theirs() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    heed_sigterm()
    with interruptible() as interrupted:
        signal.raise_signal(signal.SIGTERM)
    assert seen == [signal.SIGTERM]
    assert not interrupted.is_set()


def test_what_is_ignored_stays_so() -> None:
    for number in BOTH:
        signal.signal(number, signal.SIG_IGN)
    heed_sigterm()
    with interruptible() as interrupted:
        for number in BOTH:
            signal.raise_signal(number)
    assert not interrupted.is_set()


def test_in_another_thread_nothing_changes() -> None:
    before = [signal.getsignal(number) for number in BOTH]
    found: list[object] = []

    def look() -> None:
        with interruptible():
            found.extend(signal.getsignal(number) for number in BOTH)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == before


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_exit_status_of_a_command_says_which_it_was(number: signal.Signals, status: int, tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text(
        "import sys, time\n\nclass Waiting:\n    def __init__(self):\n"
        "        print('waits', file=sys.stderr, flush=True)\n        time.sleep(600)\n",
        "utf-8",
    )
    command = [sys.executable, "-m", "lgbench", "eval", "waiting.py:Waiting", "--task", "reverse"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    while process.stderr.readline() != "waits\n":
        assert process.poll() is None
    os.kill(process.pid, number)
    assert process.communicate()[1] == "\nInterrupted.\n"
    assert process.returncode == status
