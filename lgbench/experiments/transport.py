"""Runs on machines that do not share a disk: files go there with the call, and what a run leaves comes back whole.

A call carries the run's folder as it is here, so that a run begun earlier is resumed, and the Python files that the
user named, with their neighbours. On the other side it works in a folder of its own.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lgbench.experiments.base import Run
from lgbench.util.errors import LgbenchError
from lgbench.util.files import LOCK_FILE, is_unfinished, owned_folder, write_atomically
from lgbench.util.links import refuse_links
from lgbench.util.users_code import split_place

if TYPE_CHECKING:
    from lgbench.training.planned import Start

Files = dict[str, bytes]
"""The content of files by their path in a folder, with `/` between its parts."""

MAX_USER_BYTES = 20_000_000
_SECONDS_BETWEEN_LOOKS = 2.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """A run to be finished elsewhere.

    Attributes:
        key: A name for it that a repeated call has too.
        call: Finishes a run.
        run: The run; its folder is relative to wherever the job works.
        threads: Cores for one operation of PyTorch; None leaves it as it is.
        user_files: The user's Python files, by their path from the working directory.
        files: What the run's folder holds so far.
    """

    key: str
    call: Callable[[Run], None]
    run: Run
    threads: int | None
    user_files: Files
    files: Files


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What a job left, and the error that ended it, if one did."""

    files: Files
    error: BaseException | None


def check_files(call: partial[None], runs: Sequence[Run]) -> None:
    """Make sure that all that runs need can be sent, before any of them starts.

    Args:
        call: As for `submit_with_files`.
        runs: The runs.

    Raises:
        LgbenchError: A file of the user's or the checkpoint of `--start` lies outside the working directory, or the
            weights of the latter are others than were planned with.
    """
    # Most runs of an experiment need the same.
    for references in {tuple(_references(call, run)) for run in runs}:
        python_files(references)
    for start in {_sent_start(run) for run in runs} - {None}:
        _start_files(start)


def submit_with_files(executor: Executor, call: partial[None], run: Run) -> Future[None]:
    """Submit a run to an executor that does not share this disk.

    The run's folder here is owned until the run has come back, so that no other process starts the same run. What
    keeps the run from being sent is in the future, like any other failure of it.

    Args:
        executor: The executor.
        call: Finishes a run, given as the one argument that it lacks. Files that its arguments name are sent along.
        run: The run.
    """
    done: Future[None] = Future()
    owned = contextlib.ExitStack()
    try:
        owned.enter_context(owned_folder(run.folder))
        job = _packed(executor, call, run)
    except (LgbenchError, OSError) as error:
        owned.close()
        done.set_exception(error)
        return done

    def receive(received: Future[Delivery]) -> None:
        try:
            try:
                delivery = received.result()
            except BaseException:
                _keep_what_arrived(executor, job, run.folder)
                raise
            write_files(run.folder, delivery.files)  # later than whatever was sent on the way
            _forget(executor, job)
            if delivery.error is not None:
                raise delivery.error
            done.set_result(None)
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits for the run
            done.set_exception(error)
        finally:
            owned.close()

    try:
        submitted = executor.submit(carry_out, job, getattr(executor, "mailbox", None))
    except Exception as error:  # noqa: BLE001  # of the executor, or of pickling: it is this run's failure
        owned.close()
        done.set_exception(error)
        return done
    submitted.add_done_callback(receive)
    return done


def _packed(executor: Executor, call: partial[None], run: Run) -> Job:
    """A run with all that it needs elsewhere."""
    key = secrets.token_hex(8)  # of this call alone: a later one of the same run has its own files
    return Job(
        key=key,
        call=call,
        run=run._replace(folder=Path(f"lgbench-{key}", run.folder.name)),  # where none of the files below goes
        threads=getattr(executor, "cores", None),
        user_files=python_files(_references(call, run)) | _start_files(_sent_start(run)),
        files=read_files(run.folder),
    )


def _references(call: partial[None], run: Run) -> list[str]:
    """All that may name a file of the user's."""
    method = [] if run.plan.method is None else [run.plan.method.name]
    return [*texts_in(call.args), run.plan.model, *method, *(hook.name for hook in run.plan.hooks)]


def _sent_start(run: Run) -> Start | None:
    """What a run starts from, unless it comes with the package or the run has begun already."""
    from lgbench.training.state import STATE

    start = run.plan.start
    return None if start is None or start.folder.startswith("tiny:") or (run.folder / STATE).exists() else start


def _start_files(start: Start | None) -> Files:
    """The checkpoint that a run starts from.

    Raises:
        LgbenchError: It is not named by a path within the working directory, or the weights are others.
    """
    if start is None:
        return {}
    from lgbench.models.checkpoint import RECORD, WEIGHTS
    from lgbench.training.planned import start_folder

    place, here = start_folder(start), Path.cwd()
    if place.is_absolute() or not place.resolve().is_relative_to(here.resolve()):
        raise LgbenchError(
            f"--start {start.folder} must be a path within the working directory, from which files are sent to other "
            "machines, as in --start runs/first."
        )
    paths = [place / RECORD, place / WEIGHTS]
    return {Path(os.path.relpath(path, here)).as_posix(): path.read_bytes() for path in paths}


def _keep_what_arrived(executor: Executor, job: Job, folder: Path) -> None:
    """Save the last state that a job sent before its machine was lost."""
    latest: Callable[[str], Files] | None = getattr(executor, "latest", None)
    if latest is not None:
        with contextlib.suppress(Exception):  # the cluster itself may be gone: the first error counts
            write_files(folder, latest(job.key))


def _forget(executor: Executor, job: Job) -> None:
    """Drop what a job sent on the way: it is older than what it gave back, and a later job may go on from that."""
    forget: Callable[[str], None] | None = getattr(executor, "forget", None)
    if forget is not None:
        with contextlib.suppress(Exception):  # the cluster may be gone, and the run is here
            forget(job.key)


def carry_out(job: Job, mailbox: Any = None) -> Delivery:
    """Finish a run in a folder of this machine, and give back all that it left, even if it failed.

    Args:
        job: The run.
        mailbox: Where to leave each state on the way, so that the run can be resumed elsewhere if this machine is lost.
            It has `put(key, files)` and `get(key)`.
    """
    with _workplace(job) as place:
        folder = place / job.run.folder
        write_files(place, job.user_files)
        # What a lost call of this job sent is the whole folder as it was then: a file that it lacks was deleted.
        write_files(folder, (mailbox.get(job.key) if mailbox is not None else None) or job.files)
        with contextlib.chdir(place), _threads(job.threads), _sending(folder, job.key, mailbox):
            try:
                job.call(job.run)
            except Exception as error:  # noqa: BLE001  # it goes back with the files
                return Delivery(files=read_files(folder), error=error)
        return Delivery(files=read_files(folder), error=None)


@contextlib.contextmanager
def _workplace(job: Job) -> Iterator[Path]:
    """A folder of this call alone: the process of a call that was given up as lost may still be at work."""
    place = Path(tempfile.mkdtemp(prefix=f"lgbench-{job.key}-"))
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    if count is None:
        yield
        return
    from lgbench.models.parallel import limited_threads

    with limited_threads(count):
        yield


@contextlib.contextmanager
def _sending(folder: Path, key: str, mailbox: Any) -> Iterator[None]:
    """While the block runs, send files that changed, every few seconds, and once more where it is interrupted."""
    if mailbox is None:
        yield
        return
    ended = threading.Event()

    def watch() -> None:
        sent = ""
        while not ended.wait(_SECONDS_BETWEEN_LOOKS):
            try:
                if (seen := _looks(folder)) != sent:
                    mailbox.put(key, read_files(folder))
                    sent = seen
            except OSError:  # a file was replaced as it was read: there will be a next time
                continue
            except Exception as error:  # noqa: BLE001  # the run goes on, and its files come back with it
                print(f"A state could not be sent ({error}); none is sent any more.", file=sys.stderr, flush=True)
                return

    thread = threading.Thread(target=watch, daemon=True, name="lgbench-sending")
    thread.start()
    try:
        yield
    except KeyboardInterrupt:  # nobody waits for the result any more: what was sent last is kept
        ended.set()
        thread.join()
        mailbox.put(key, read_files(folder))
        raise
    finally:
        ended.set()
        thread.join()


def _looks(folder: Path) -> str:
    """A text that changes when a file in the folder does."""
    return "\n".join(f"{path} {path.stat().st_mtime_ns}" for path in _paths(folder))


def _paths(folder: Path) -> list[Path]:
    """The finished files in a folder, links and what is being written left out."""
    found = []
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not is_unfinished(name)]
        paths = [Path(place, name) for name in names if name != LOCK_FILE and not is_unfinished(name)]
        found += [path for path in paths if path.is_file() and not path.is_symlink()]
    return sorted(found)


def read_files(folder: Path) -> Files:
    """The files in a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in _paths(folder)}


def write_files(folder: Path, files: Files) -> None:
    """Make the files in a folder exactly these; a folder of no files is left alone.

    Raises:
        LgbenchError: A path leads out of the folder, or through a link in it; then nothing is written.
        OSError: One cannot be written.
    """
    if not files:
        return
    for name in files:
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise LgbenchError(f"{name!r} is not a path in a run's folder.")
    refuse_links(folder, files)
    for path in _paths(folder):
        if path.relative_to(folder).as_posix() not in files:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content)


def texts_in(value: object) -> list[str]:
    """The strings in a value: itself, or those in the dictionaries and sequences that it is made of."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return texts_in(list(value.values()))
    return [text for each in value for text in texts_in(each)] if isinstance(value, Sequence) else []


def python_files(references: Sequence[str]) -> Files:
    """The `.py` files that references name, with the `.py` files beside them and the packages there.

    Raises:
        LgbenchError: One does not lie in the working directory, or they are very large.
    """
    here, found = Path.cwd(), Files()
    for reference in references:
        place = Path(split_place(reference)[0])
        if place.suffix != ".py" or not place.is_file():
            continue
        if not place.resolve().is_relative_to(here.resolve()):
            raise LgbenchError(
                f"{str(place)!r} lies outside the working directory, from which files are sent to other machines. "
                "Run the command in the folder that holds it."
            )
        beside = place.parent
        packages = [each.parent for each in beside.glob("*/__init__.py") if each.parent.name != "lgbench"]
        for path in [*beside.glob("*.py"), *(each for package in packages for each in package.rglob("*.py"))]:
            found[Path(os.path.relpath(path, here)).as_posix()] = path.read_bytes()
    if (size := sum(map(len, found.values()))) > MAX_USER_BYTES:
        raise LgbenchError(f"The Python files beside yours have {size:,} bytes; at most {MAX_USER_BYTES:,} are sent.")
    return found
