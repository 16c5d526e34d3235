"""Launching an experiment: every run through an executor, shared with equal commands elsewhere, failures kept apart.

Several processes, on one machine or on many with a shared disk, may launch the same experiment in the same folder. Each
skips the runs that another one holds, so the folder is their queue; a run whose process was killed is taken up again by
the next that looks.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, as_completed
from contextlib import closing
from enum import Enum
from functools import partial
from pathlib import Path
from typing import NamedTuple

from lgbench.experiments.base import Run
from lgbench.experiments.executors import InProcessExecutor
from lgbench.experiments.loading import Loaded, finish_elsewhere
from lgbench.experiments.monitor import Monitor
from lgbench.util.errors import FolderInUseError, LgbenchError, ModelError
from lgbench.util.text import plain_lines


class State(Enum):
    """What became of a run."""

    FINISHED = "done"
    FAILED = "failed"
    ELSEWHERE = "being done by another process"


class Outcome(NamedTuple):
    """A run that has ended, here or for now.

    Attributes:
        run: The run.
        state: What became of it.
        failure: Why it failed; None where it did not.
    """

    run: Run
    state: State
    failure: str | None = None


def launch(
    loaded: Loaded,
    runs: Sequence[Run],
    *,
    executor: Executor | None = None,
    device: str = "cpu",
    quiet: bool = False,
    monitor: Callable[[Run], Monitor] | None = None,
) -> Iterator[Outcome]:
    """Finish runs, and give each when it ends. A run that fails does not stop the others.

    Runs that another process holds are looked at again after the others, until none of them is free; then they are
    given as `State.ELSEWHERE`.

    Args:
        loaded: The experiment.
        runs: Its runs, or some of them.
        executor: Executes them; the default does so one by one, in this process. It is shut down only where the caller
            stops before the end, on Ctrl-C say: then what is at work is ended.
        device: Where to train, as PyTorch names it.
        quiet: Whether runs print nothing on the way.
        monitor: Makes what a run in this process reports to; None prints lines. Runs elsewhere print lines.
    """
    monitor = monitor or (lambda run: Monitor(run.name, quiet=quiet))
    executor = executor or InProcessExecutor()
    check_folders(runs)
    left = list(runs)
    while left:
        held = []
        for outcome in _pass(loaded, left, executor, device, quiet, monitor):
            if outcome.state is State.ELSEWHERE:
                held.append(outcome)
            else:
                yield outcome
        if len(held) == len(left):
            yield from held
            return
        left = [outcome.run for outcome in held]


def _pass(
    loaded: Loaded,
    runs: Sequence[Run],
    executor: Executor,
    device: str,
    quiet: bool,
    monitor: Callable[[Run], Monitor],
) -> Iterator[Outcome]:
    """Each run once."""
    if getattr(executor, "in_process", False):
        for run in runs:
            with closing(monitor(run)) as shown:
                outcome = _outcome(run, partial(loaded.experiment.finish, run, device, shown))
            yield outcome
        return
    submit = _submitter(loaded, runs, executor, device, quiet)
    futures: dict[Future[None], Run] = {}
    try:
        for run in runs:
            futures[submit(run)] = run
        for future in as_completed(futures):
            yield _outcome(futures[future], future.result)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def _submitter(
    loaded: Loaded, runs: Sequence[Run], executor: Executor, device: str, quiet: bool
) -> Callable[[Run], Future[None]]:
    call = partial(finish_elsewhere, loaded.reference, loaded.experiment.options(), device=device, quiet=quiet)
    if getattr(executor, "shares_disk", True):
        return lambda run: executor.submit(call, run)

    from lgbench.experiments.transport import check_files, submit_with_files

    check_files(call, runs)
    return lambda run: submit_with_files(executor, call, run)


def _outcome(run: Run, finish: Callable[[], object]) -> Outcome:
    """What becomes of a run that `finish` brings to its end, or has."""
    try:
        finish()
    except FolderInUseError:
        return Outcome(run, State.ELSEWHERE)
    except ModelError as error:
        print(plain_lines(error.user_traceback), end="", file=sys.stderr, flush=True)
        return Outcome(run, State.FAILED, str(error))
    except LgbenchError as error:
        return Outcome(run, State.FAILED, str(error))
    except Exception as error:  # noqa: BLE001  # out of memory, say: the other runs go on
        print(plain_lines("".join(traceback.format_exception(error))), end="", file=sys.stderr, flush=True)
        return Outcome(run, State.FAILED, f"{type(error).__name__}: {error}")
    return Outcome(run, State.FINISHED)


def shared_out(runs: Sequence[Run], index: int | None, of: int | None) -> list[Run]:
    """Every `of`-th run from number `index` on; all where neither is given.

    Raises:
        LgbenchError: Only one is given, or the index is too large.
    """
    if index is None and of is None:
        return list(runs)
    if index is None or of is None:
        raise LgbenchError("--index and --of go together, as in --index 0 --of 8.")
    if index >= of:
        raise LgbenchError(f"--index {index} --of {of}: the index goes from 0 to {of - 1}.")
    return list(runs[index::of])


def check_folders(runs: Sequence[Run]) -> None:
    """Make sure that no two runs share a folder.

    Raises:
        LgbenchError: Two do, or one lies in another's; or two have one name.
    """
    owners: dict[Path, str] = {}
    for run in runs:
        folder = run.folder.absolute()
        if (other := owners.get(folder)) is not None:
            raise LgbenchError(f"The runs {other!r} and {run.name!r} share the folder {str(run.folder)!r}.")
        owners[folder] = run.name
    for run in runs:
        for above in run.folder.absolute().parents:
            if above in owners:
                raise LgbenchError(f"The folder of the run {run.name!r} lies in that of {owners[above]!r}.")
