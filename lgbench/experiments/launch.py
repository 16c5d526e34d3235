"""Launching an experiment: every run through an executor, shared with equal commands elsewhere, failures kept apart.

Several processes, on one machine or on many with a shared disk, may launch the same experiment in the same folder. Each
skips the runs that another one holds, so the folder is their queue; a run whose process was killed is taken up again by
the next that looks.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from lgbench.errors import FolderInUseError, LgbenchError, ModelError
from lgbench.experiments.base import Experiment, Run
from lgbench.experiments.executors import InProcessExecutor
from lgbench.text import plain_lines


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


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An experiment and the place that another process can build it from.

    Attributes:
        experiment: The experiment with its options.
        reference: `package.module:attribute` or `file.py:attribute` of its class.
    """

    experiment: Experiment
    reference: str

    @classmethod
    def of(cls, experiment: Experiment) -> Loaded:
        """An experiment whose class can be imported by its module's name."""
        kind = type(experiment)
        return cls(experiment=experiment, reference=f"{kind.__module__}:{kind.__qualname__}")


def launch(
    loaded: Loaded, runs: Sequence[Run], *, executor: Executor | None = None, device: str = "cpu"
) -> Iterator[Outcome]:
    """Finish runs, and give each when it ends. A run that fails does not stop the others.

    Runs that another process holds are looked at again after the others, until none of them is free; then they are
    given as `State.ELSEWHERE`.

    Args:
        loaded: The experiment.
        runs: Its runs, or some of them.
        executor: Executes them; the default does so one by one, in this process. It is not shut down.
        device: Where to train, as PyTorch names it.
    """
    executor = executor or InProcessExecutor()
    check_folders(runs)
    left = list(runs)
    while left:
        held = []
        for outcome in _pass(loaded, left, executor, device):
            if outcome.state is State.ELSEWHERE:
                held.append(outcome)
            else:
                yield outcome
        if len(held) == len(left):
            yield from held
            return
        left = [outcome.run for outcome in held]


def _pass(loaded: Loaded, runs: Sequence[Run], executor: Executor, device: str) -> Iterator[Outcome]:
    """Each run once."""
    if getattr(executor, "in_process", False):
        for run in runs:
            yield _outcome(run, lambda run=run: loaded.experiment.finish(run, device))  # type: ignore[misc]
        return
    submit = _submitter(loaded, executor, device)
    futures: dict[Future[None], Run] = {submit(run): run for run in runs}
    try:
        for future in as_completed(futures):
            yield _outcome(futures[future], future.result)
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise


def _submitter(loaded: Loaded, executor: Executor, device: str) -> Callable[[Run], Future[None]]:
    options = loaded.experiment.options()
    if getattr(executor, "shares_disk", True):
        return lambda run: executor.submit(finish_elsewhere, loaded.reference, options, run, device)

    from lgbench.experiments.transport import submit_with_files

    return lambda run: submit_with_files(executor, loaded.reference, options, run, device)


def finish_elsewhere(reference: str, options: Mapping[str, Any], run: Run, device: str) -> None:
    """Finish a run in the process that an executor calls this in."""
    experiment = load_experiment(reference)(**options)
    experiment.prepare()
    experiment.finish(run, device)


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


def load_experiment(reference: str) -> type[Experiment]:
    """The class of an experiment: `file.py:attribute` or `package.module:attribute`.

    Raises:
        LgbenchError: There is none.
        ModelError: The user's file raised when it was imported.
    """
    from lgbench.models.importing import load_named

    module, _, attribute = reference.partition(":")
    if module.startswith("lgbench.experiments."):
        found: Any = getattr(importlib.import_module(module), attribute)
    else:
        found = load_named(reference, what="experiment", valid="file.py:CLASS or package.module:CLASS")
    if not (isinstance(found, type) and issubclass(found, Experiment)):
        raise LgbenchError(f"{reference!r} is no experiment: it must be a subclass of lgbench.experiments.Experiment.")
    return found
