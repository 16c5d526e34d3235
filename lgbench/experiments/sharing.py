"""One model in several processes: cells of an evaluation are asked there, and graded and kept here.

Each process loads the model by its name and options when it is asked first, and keeps it. Where the executor does not
share this disk, the files that the name refers to are sent along.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from lgbench.data.drafts import open_suite
from lgbench.data.suites import Suite
from lgbench.evaluation.environment import describe_environment
from lgbench.experiments.transport import Files, python_files, read_files, write_files
from lgbench.models.contract import PipelinedPredictor, Question, SharedPredictor, StreamingPredictor
from lgbench.models.loaded import Model, Trained
from lgbench.models.loading import load_model
from lgbench.models.recorded import RecordedReplies
from lgbench.models.safe_call import ask_each_alone, ask_in_parts, prepare
from lgbench.results.schema import Environment, SystemInfo
from lgbench.util.errors import LgbenchError

MAX_FOLDER_BYTES = 2_000_000_000
_AHEAD = 2  # cells for each process: one at work, and one that it need not wait for


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a process needs to load the model.

    Attributes:
        name: MODEL.
        options: Its options.
        suite: What opens the suite that is evaluated; None while nothing is asked yet.
        tasks: What will be asked.
        sent: The name in the mailbox of the files that are sent along, or the files; None where the disk is shared.
    """

    name: str
    options: Mapping[str, str]
    suite: str | None = None
    tasks: tuple[str, ...] = ()
    sent: str | Files | None = None


class Card(NamedTuple):
    """What a process says of the model that it has loaded."""

    system: SystemInfo
    trained: Trained | None
    may_change: frozenset[str]
    device: str
    environment: Environment
    one_by_one: bool


class _Kept(threading.local):
    """The model that this thread of this process loaded last, and where."""

    source: Source | None = None
    model: Model
    place: Path | None = None


_kept = _Kept()


@contextlib.contextmanager
def _loaded(source: Source, mailbox: Any) -> Iterator[Model]:
    """The model, in the folder of its files."""
    if _kept.source is None or replace(_kept.source, suite=None, tasks=()) != replace(source, suite=None, tasks=()):
        _kept.source, _kept.place = None, _place(source, mailbox)
        with _inside(_kept.place):
            _kept.model = load_model(source.name, source.options)
        _kept.source = replace(source, suite=None)
    with _inside(_kept.place):
        if source.suite is not None and _kept.source != source:
            prepare(_kept.model.predictor, open_suite(source.suite), source.tasks)
            _kept.source = source
        yield _kept.model


def _place(source: Source, mailbox: Any) -> Path | None:
    if source.sent is None:
        return None
    place = Path(tempfile.mkdtemp(prefix="lgbench-model-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    write_files(place, mailbox.get(source.sent) if isinstance(source.sent, str) else source.sent)
    return place


def _inside(place: Path | None) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if place is None else contextlib.chdir(place)


def _describe(source: Source, mailbox: Any) -> Card:
    with _loaded(source, mailbox) as model:
        predictor = model.predictor
        if isinstance(predictor, RecordedReplies):
            raise LgbenchError(f"{source.name!r} only looks replies up: evaluate it without --executor and --jobs.")
        if isinstance(predictor, PipelinedPredictor):
            raise LgbenchError(
                f"{source.name!r} is a server, which is asked many prompts at once already: evaluate it without "
                "--executor and --jobs. See the model option `concurrency`."
            )
        return Card(
            model.system,
            model.trained,
            model.may_change,
            model.device,
            describe_environment(model.device),
            predictor.one_by_one if isinstance(predictor, StreamingPredictor) else True,
        )


def _ask(source: Source, mailbox: Any, prompts: Sequence[str], task: str, batch_size: int | None) -> list[str]:
    with _loaded(source, mailbox) as model:
        assert not isinstance(model.predictor, RecordedReplies)
        replies: dict[int, str] = {}
        for part in ask_in_parts(model.predictor, prompts, task, batch_size=batch_size):
            replies |= part
        return [replies[position] for position in range(len(prompts))]


def _ask_alone(source: Source, mailbox: Any, prompts: Sequence[str], task: str) -> list[str]:
    with _loaded(source, mailbox) as model:
        assert not isinstance(model.predictor, RecordedReplies)
        return ask_each_alone(model.predictor, prompts, task)


class ModelInProcesses(SharedPredictor):
    """The predictor of a model that the processes of an executor hold.

    Args:
        executor: The executor.
        source: What loads the model there.
        jobs: How many processes there are.

    Raises:
        LgbenchError: It cannot be loaded, or cannot be shared.
    """

    def __init__(self, executor: Executor, source: Source, *, jobs: int) -> None:
        self._executor, self._source, self._jobs = executor, source, jobs
        self._mailbox = getattr(executor, "mailbox", None)
        self.card: Card = self._submit(_describe).result()
        self.device, self.one_by_one = self.card.device, self.card.one_by_one
        self.environment = self.card.environment

    def _submit(self, function: Any, *arguments: Any) -> Future[Any]:
        return self._executor.submit(function, self._source, self._mailbox, *arguments)

    def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
        """Have each process prepare the model before it is asked."""
        self._source = replace(self._source, suite=suite.reference, tasks=tuple(tasks))

    def predict(self, prompts: Sequence[str], task: str) -> Sequence[str]:
        """Ask one of the processes."""
        replies: list[str] = self._submit(_ask, prompts, task, None).result()
        return replies

    def each_alone(self, prompts: Sequence[str], task: str) -> list[str]:
        """Ask one of the processes."""
        replies: list[str] = self._submit(_ask_alone, prompts, task).result()
        return replies

    def answer(
        self, cells: Iterable[Sequence[Question]], *, batch_size: int | None
    ) -> Iterator[tuple[int, Sequence[str]]]:
        """Ask every process cells, and hand on what is done."""
        following, working = enumerate(cells), dict[Future[Any], int]()
        try:
            while True:
                while len(working) < _AHEAD * self._jobs and (taken := next(following, None)) is not None:
                    number, questions = taken
                    if questions:
                        prompts = [question.prompt for question in questions]
                        working[self._submit(_ask, prompts, questions[0].task, batch_size)] = number
                if not working:
                    return
                for future in wait(working, return_when=FIRST_COMPLETED).done:
                    yield working.pop(future), future.result()
        finally:
            for future in working:
                future.cancel()


def share_model(name: str, options: Mapping[str, str], executor: Executor, *, jobs: int, suite: Suite) -> Model:
    """A model that the processes of an executor hold, to be evaluated like any other.

    Args:
        name: MODEL.
        options: Its options.
        executor: The executor. It is not shut down.
        jobs: How many processes are to hold it.
        suite: The suite that will be evaluated.

    Raises:
        LgbenchError: It cannot be loaded there, cannot be shared, or its files cannot be sent.
        ModelError: The model's own code raised.
    """
    sent: str | Files | None = None
    if not getattr(executor, "shares_disk", True):
        sent = _files_of(name, options, suite)
        if (mailbox := getattr(executor, "mailbox", None)) is not None:
            key = hashlib.sha256("".join(f"{path}\n" for path in sent).encode() + b"".join(sent.values())).hexdigest()
            mailbox.put(key, sent)
            sent = key
    source = Source(name=name, options=dict(options), sent=sent)
    predictor = ModelInProcesses(executor, source, jobs=jobs)
    card = predictor.card
    return Model(predictor, card.system, card.trained, card.may_change)


def _files_of(name: str, options: Mapping[str, str], suite: Suite) -> Files:
    """The files that a model's name and options and a suite refer to, by their path from the working directory."""
    files = dict(python_files([name, *options.values(), suite.reference]))
    folder = Path(name.removeprefix("hf:"))
    if not folder.is_absolute() and ".." not in folder.parts and folder.is_dir():
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        if size > MAX_FOLDER_BYTES:
            raise LgbenchError(
                f"The folder {str(folder)!r} has {size:,} bytes; at most {MAX_FOLDER_BYTES:,} are sent to other "
                "machines. Put it on each of them and name it by its whole path."
            )
        files |= {(folder / path).as_posix(): content for path, content in read_files(folder).items()}
    return files
