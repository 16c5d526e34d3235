"""Whole processes: start-up, the harness around a model that answers at once, and peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lgbench.util.errors import LgbenchError

ROUNDS = 7
_BARE_TYPER = """
import typer
app = typer.Typer()
@app.command()
def main(name: str) -> None:
    print(name)
app()
"""
_LGBENCH = [sys.executable, "-m", "lgbench"]


class Usage(NamedTuple):
    """What a finished process used."""

    seconds: float
    processor_seconds: float
    peak_megabytes: float


def startup() -> Iterator[str]:
    """The time of `--help` against that of a bare Typer program, run in turn; medians and their ratio."""
    bare = [sys.executable, "-c", _BARE_TYPER, "--help"]
    for arguments in (["--help"], ["validate", "--help"]):
        theirs, ours = [], []
        for _ in range(ROUNDS):
            theirs.append(run_process(bare).seconds)
            ours.append(run_process([*_LGBENCH, *arguments]).seconds)
        ratio = statistics.median(ours) / statistics.median(theirs)
        yield (
            f"lgbench {' '.join(arguments)}: {statistics.median(ours):.3f} s, "
            f"{ratio:.2f} times a bare Typer program ({statistics.median(theirs):.3f} s)"
        )


def harness() -> Iterator[str]:
    """The whole process of evaluating every `reverse_add` example of `mini-v1` with a model that answers at once."""
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            run_process(_evaluation("echo", "--task", "reverse_add", folder=f"{folder}/{n}")) for n in range(ROUNDS)
        ]
    yield f"lgbench eval echo --task reverse_add: {statistics.median(run.seconds for run in runs):.2f} s, whole process"


def memory() -> Iterator[str]:
    """The peak memory of evaluating the oracle on a small and on the large suite."""
    for suite in ("mini-v1", "standard-v1"):
        with tempfile.TemporaryDirectory() as folder:
            run = run_process(_evaluation("oracle", "--suite", suite, folder=f"{folder}/run"))
        yield f"lgbench eval oracle --suite {suite}: {run.peak_megabytes:.0f} MB at most, {run.seconds:.1f} s"


def _evaluation(model: str, *options: str, folder: str) -> list[str]:
    return [*_LGBENCH, "eval", model, *options, "--output", folder]


def run_process(command: list[str], *, env: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end, in this process's environment or another.

    Raises:
        LgbenchError: It failed; with what it wrote on stderr.
    """
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.stderr.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise LgbenchError(f"{' '.join(command[:4])} ... failed: {errors.decode(errors='replace').strip()}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes of 1024 elsewhere
    return Usage(time.perf_counter() - begun, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6)
