"""Where runs are executed: anything with the interface of `concurrent.futures.Executor`.

`open_executor` gives one by name. Two attributes are read where an executor has them: `shares_disk` (whether what a run
leaves in its folder is seen here; True where it does not say) and `in_process` (whether a call runs in this process, so
that Ctrl-C reaches it; False where it does not say).
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, ParamSpec, TypeVar

from lgbench.util.errors import LgbenchError
from lgbench.util.processes import SECONDS_TO_SAVE, ProcessEndedError, begin_work, cores

_Parameters = ParamSpec("_Parameters")
_Returned = TypeVar("_Returned")
_log = logging.getLogger(__name__)
LOCAL, RAY = "local", "ray"
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


class InProcessExecutor(Executor):
    """Executes each call at once, in this process."""

    in_process = True

    def submit(
        self, fn: Callable[_Parameters, _Returned], /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Future[_Returned]:
        """A future that is done."""
        future: Future[_Returned] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # the interface: whoever asks for the result gets it
            future.set_exception(error)
        return future


class ProcessesExecutor(Executor):
    """Executes each call in a new process of its own, several at a time: one that is killed takes no other with it.

    Args:
        jobs: Calls at a time.
        cores_each: Cores of each call; None shares out those that there are.
        gpus: How many GPUs there are to share: each call sees one of them, dealt out in turn. 0 leaves them alone.
        keep: Let a process execute further calls, which may use what earlier ones loaded, instead of one each.
    """

    def __init__(self, jobs: int, *, cores_each: int | None = None, gpus: int = 0, keep: bool = False) -> None:
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="lgbench-job")
        self._places: queue.SimpleQueue[int] = queue.SimpleQueue()  # more threads than jobs would wait here
        for place in range(jobs):
            self._places.put(place)
        self._gpus = _visible_gpus(gpus)
        self._cores = cores_each or max(1, cores() // jobs)
        self._at_work: dict[ProcessPoolExecutor, int] = {}  # with the number of its process
        self._futures: set[Future[Any]] = set()
        self._keep = keep
        self._kept: dict[int, ProcessPoolExecutor] = {}  # by place, while no call is executed there
        self._ending = threading.Event()

    def submit(
        self, fn: Callable[_Parameters, _Returned], /, *args: _Parameters.args, **kwargs: _Parameters.kwargs
    ) -> Future[_Returned]:
        """The future of a call in a process that has yet to start. What it takes and returns is pickled."""
        future = self._threads.submit(self._execute, partial(fn, *args, **kwargs))
        self._futures.add(future)
        future.add_done_callback(self._futures.discard)
        return future

    def _execute(self, call: Callable[[], _Returned]) -> _Returned:
        place = self._places.get()
        try:
            with self._process(place) as pool:
                return pool.submit(call).result()
        except KeyboardInterrupt:
            raise ProcessEndedError("its process was asked to end, and saved its state first") from None
        except BrokenProcessPool:
            raise ProcessEndedError(
                "its process was killed or crashed, perhaps for want of memory; its message may stand above"
            ) from None
        finally:
            self._places.put(place)

    @contextlib.contextmanager
    def _process(self, place: int) -> Iterator[ProcessPoolExecutor]:
        pool = self._kept.pop(place, None) or self._started(place)
        try:
            self._at_work[pool] = pool.submit(os.getpid).result()
            if self._ending.is_set():
                raise ProcessEndedError("it was not started")
            yield pool
        except BrokenProcessPool:
            self._end(pool)
            raise
        except BaseException:  # of the call itself: the process is sound
            self._release(place, pool)
            raise
        self._release(place, pool)

    def _started(self, place: int) -> ProcessPoolExecutor:
        gpu = self._gpus[place % len(self._gpus)] if self._gpus else None
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(1, context, initializer=_begin, initargs=(self._cores, gpu))

    def _release(self, place: int, pool: ProcessPoolExecutor) -> None:
        if self._keep and not self._ending.is_set():
            self._at_work.pop(pool, None)
            self._kept[place] = pool
        else:
            self._end(pool)

    def _end(self, pool: ProcessPoolExecutor) -> None:
        pool.shutdown()
        self._at_work.pop(pool, None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End; with `cancel_futures`, which comes with Ctrl-C, calls at work are asked to end too, then killed.

        What trains saves its state first. A second Ctrl-C does not wait for that.
        """
        self._threads.shutdown(wait=wait and not cancel_futures, cancel_futures=cancel_futures)
        if cancel_futures:
            self._ending.set()
            self._end_calls()
        for pool in self._kept.values():
            pool.shutdown(wait=wait)
        self._kept.clear()

    def _end_calls(self) -> None:
        self._signal(signal.SIGTERM)
        try:
            if wait(list(self._futures), timeout=2).not_done:
                _log.warning("Waiting for processes that save their work before they end. Ctrl-C again does not wait.")
                wait(list(self._futures), timeout=SECONDS_TO_SAVE)
        finally:
            self._signal(getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has but one way to end a process

    def _signal(self, number: int) -> None:
        for process in list(self._at_work.values()):
            with contextlib.suppress(OSError):  # it has just ended
                os.kill(process, number)


def _begin(threads: int, gpu: str | None) -> None:
    """Prepare a process that is to execute a call, before anything loads PyTorch."""
    begin_work()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # from the parent: end, after saving where there is something to save
    os.dup2(2, 1)  # what the user's code prints must not mix with the report
    if gpu is not None:
        os.environ[VISIBLE_GPUS] = gpu
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:  # which the variable does not reach any more
        import torch

        torch.set_num_threads(threads)


def _visible_gpus(count: int) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` would name, one GPU each."""
    given = [name.strip() for name in os.environ.get(VISIBLE_GPUS, "").split(",") if name.strip()]
    return (given or [str(number) for number in range(count)])[:count]


def open_executor(
    name: str, *, jobs: int = 1, cores_each: int | None = None, device: str = "cpu", keep: bool = False
) -> Executor:
    """The executor of this name.

    Args:
        name: `local`; `ray` or `ray:ADDRESS`; or `file.py:attribute` or `package.module:attribute`, a class or function
            that makes an executor without arguments.
        jobs: Calls at a time, where the executor is local.
        cores_each: Cores of each call; None shares out those of this machine, or takes one of a Ray cluster's.
        device: As PyTorch names it: local jobs on `cuda`, without a number, share the GPUs of this machine.
        keep: Whether calls are to find what earlier ones in the same process loaded.

    Raises:
        LgbenchError: There is none of this name, or it cannot be made.
    """
    check_executor(name)
    if name == LOCAL:
        if jobs == 1 and cores_each is None and not keep:
            return InProcessExecutor()
        return ProcessesExecutor(jobs, cores_each=cores_each, gpus=_gpu_count() if device == "cuda" else 0, keep=keep)
    if name == RAY or name.startswith(f"{RAY}:"):
        from lgbench.experiments.on_ray import RayExecutor

        address, gpus = name.partition(":")[2] or None, 1 if device.startswith("cuda") else 0
        executor: Executor = RayExecutor(address, cores=cores_each or 1, gpus=gpus, keep=keep)
        return executor
    return _of_user(name)


def check_executor(name: str) -> None:
    """Check that there is an executor of this name, without making it: a cluster is not asked.

    Raises:
        LgbenchError: There is none, or a package that it needs is missing.
    """
    if name == RAY or name.startswith(f"{RAY}:"):
        from lgbench.util.extras import require_extra

        require_extra("ray", purpose="--executor ray")
    elif name != LOCAL:
        _maker(name)


def _gpu_count() -> int:
    import torch

    return torch.cuda.device_count()


def _maker(name: str) -> Callable[[], Any]:
    from lgbench.util.users_code import load_callable

    return load_callable(name, what="executor", valid="local, ray, or file.py:attribute")


def _of_user(name: str) -> Executor:
    from lgbench.util.users_code import user_code

    make = _maker(name)
    with user_code(f"Making the executor {name!r}"):
        made = make()
    if not callable(getattr(made, "submit", None)) or not callable(getattr(made, "shutdown", None)):
        raise LgbenchError(
            f"{name!r} made a {type(made).__name__}, which is not an executor: it needs submit and shutdown, as "
            "concurrent.futures.Executor has them."
        )
    executor: Executor = made
    return executor
