"""Runs as tasks of a Ray cluster, each with its cores and GPUs; no shared disk is needed."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

# Read when Ray is imported. Lines that differ in their numbers only would be dropped as repetitions: they are progress.
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
os.environ.setdefault("RAY_SCHEDULER_EVENTS", "0")  # that runs wait for a free core is no news
if not (sys.stderr and sys.stderr.isatty()):
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from lgbench.util.errors import LgbenchError
from lgbench.util.processes import SECONDS_TO_SAVE, ProcessEndedError
from lgbench.util.stopping import kept_sigterm
from lgbench.version import __version__

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")
_Files = dict[str, bytes]
_SECONDS_TO_ANSWER = 10.0
_RETRIES = 5  # of a task whose worker or machine is lost; an error of the task itself is not retried


class RayExecutor(Executor):
    """Executes each call as a task of a Ray cluster.

    A task whose worker or machine dies is started again, elsewhere if need be, and resumes from the last state that it
    left in the mailbox, which lies on this machine.

    Args:
        address: Of the cluster, as `ray start` prints it; None takes that of `RAY_ADDRESS`, or starts Ray here.
        cores: Of each call.
        gpus: Of each call.
        keep: Let a process with a GPU execute further calls, which may use what earlier ones loaded.

    Attributes:
        slots: How many calls the cluster has room for at a time.

    Raises:
        LgbenchError: The cluster does not answer, or has no machine with so many cores and GPUs.
    """

    shares_disk = False

    def __init__(self, address: str | None = None, *, cores: int = 1, gpus: int = 0, keep: bool = False) -> None:
        self.cores = cores
        self._owns = not ray.is_initialized()
        if self._owns:
            _connect(address)
        self.slots = _slots(cores, gpus)
        here = NodeAffinitySchedulingStrategy(node_id=ray.get_runtime_context().get_node_id(), soft=False)
        self.mailbox = Mailbox(_MailboxActor.options(num_cpus=0, scheduling_strategy=here).remote())  # type: ignore[attr-defined]
        reuse = {"max_calls": 0} if keep else {}  # Ray's own: no limit without a GPU, one call with one
        self._call = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=_RETRIES, **reuse)(_by_value())
        self._waiting: dict[Any, threading.Thread] = {}

    def submit(
        self, fn: Callable[_Parameters, _Returned], /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Future[_Returned]:
        """The future of a call on the cluster. What it takes and returns is pickled."""
        reference = self._call.remote(pickle.dumps((fn, args, kwargs)), __version__)
        future: Future[_Returned] = Future()
        future.set_running_or_notify_cancel()  # from now on only `shutdown` cancels it
        # A thread for each task: `ObjectRef.future` would call back on Ray's own, which must not wait.
        thread = threading.Thread(target=self._wait, args=(reference, future), daemon=True, name="lgbench-ray")
        self._waiting[reference] = thread
        thread.start()
        return future

    def _wait(self, reference: Any, future: Future[Any]) -> None:
        try:
            problem, pickled = ray.get(reference)
            if problem is not None:
                raise LgbenchError(problem)
            returned, raised = pickle.loads(pickled)
            if raised is not None:
                raise raised
            future.set_result(returned)
        except RayError as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            future.set_exception(ProcessEndedError(f"its Ray task was lost: {reason}"))
        except BaseException as error:  # noqa: BLE001  # handed to whoever waits
            future.set_exception(error)
        finally:
            self._waiting.pop(reference, None)

    def latest(self, key: str) -> _Files:
        """The files that a job last left in the mailbox; empty for none."""
        return self.mailbox.get(key)

    def forget(self, key: str) -> None:
        """Drop the files of a job from the mailbox."""
        self.mailbox.drop(key)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Disconnect; with `cancel_futures`, end the tasks at work too. The last states that they sent are kept.

        They are interrupted as by Ctrl-C, so that they save and send what they have done, and killed if they do not
        end. A second Ctrl-C does not wait for that.
        """
        if cancel_futures:
            try:
                self._cancel(force=False)
            finally:
                self._cancel(force=True)
        elif wait:
            for thread in list(self._waiting.values()):
                thread.join()
        if self._owns and ray.is_initialized():
            ray.shutdown()

    def _cancel(self, *, force: bool) -> None:
        """Cancel the tasks, and wait for their ends, but not for long."""
        waiting = dict(self._waiting)
        for reference in waiting:
            ray.cancel(reference, force=force)
        latest = time.monotonic() + SECONDS_TO_SAVE
        for thread in waiting.values():
            thread.join(max(0.0, latest - time.monotonic()))


def _slots(cores: int, gpus: int) -> int:
    """How many calls the cluster has room for, at least one.

    Raises:
        LgbenchError: It has none.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    room = [min(node.get("CPU", 0) // cores, node.get("GPU", 0) // gpus if gpus else 10**6) for node in nodes]
    if not sum(room):
        wanted = f"{cores} core{'s' if cores > 1 else ''}" + (f" and {gpus} GPU" if gpus else "")
        raise LgbenchError(f"No machine of the Ray cluster has {wanted}, which each run needs.")
    return int(sum(room))


def _connect(address: str | None) -> None:
    try:
        _knock(address or os.environ.get("RAY_ADDRESS", ""))
        with kept_sigterm():  # Ray ends this process at once, before it has what the tasks save
            ray.init(address=address, log_to_driver=True, logging_level="warning", include_dashboard=False)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise LgbenchError(
            f"The Ray cluster {address or 'here'!r} does not answer: {reason}. Start one with `ray start --head`, and "
            "name its address as in --executor ray:HOST:6379."
        ) from None


def _knock(address: str) -> None:
    """See whether anything listens there at all: Ray itself may try for many minutes.

    Raises:
        OSError: Nothing does.
    """
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:  # else it is `auto`, `local` or a URL
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()


def _by_value() -> Callable[[bytes, str], tuple[str | None, bytes]]:
    """The function of every task. It is sent by value, as it must say what is wrong where lgbench itself is not."""

    def call(pickled: bytes, version: str) -> tuple[str | None, bytes]:
        import pickle
        import socket

        try:
            import lgbench
        except ImportError:
            return f"lgbench is not installed on the Ray worker {socket.gethostname()}. Install version {version}.", b""
        if lgbench.__version__ != version:
            return (
                f"The Ray worker {socket.gethostname()} has lgbench {lgbench.__version__}, and this is {version}. "
                "Install the same version on every machine.",
                b"",
            )
        function, arguments, keywords = pickle.loads(pickled)
        try:
            return None, pickle.dumps((function(*arguments, **keywords), None))
        except Exception as error:  # noqa: BLE001  # Ray would wrap it
            return None, pickle.dumps((None, error))

    call.__name__ = call.__qualname__ = "lgbench"  # what Ray puts before lines of workers
    return call


class Mailbox:
    """A handle on the place where jobs leave their states. Any task may use it.

    Args:
        actor: The actor that holds them.
    """

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def put(self, key: str, files: _Files) -> None:
        """Leave the files of a job in the place of earlier ones."""
        ray.get(self._actor.put.remote(key, files))

    def get(self, key: str) -> _Files:
        """The files that a job left; empty for none."""
        files: _Files = ray.get(self._actor.get.remote(key))
        return files

    def drop(self, key: str) -> None:
        """Forget the files of a job."""
        ray.get(self._actor.drop.remote(key))

    def keys(self) -> list[str]:
        """The jobs that have left files."""
        found: list[str] = ray.get(self._actor.keys.remote())
        return found


@ray.remote
class _MailboxActor:
    def __init__(self) -> None:
        self._files: dict[str, _Files] = {}

    def put(self, key: str, files: _Files) -> None:
        self._files[key] = files

    def get(self, key: str) -> _Files:
        return self._files.get(key, {})

    def drop(self, key: str) -> None:
        self._files.pop(key, None)

    def keys(self) -> list[str]:
        return list(self._files)
