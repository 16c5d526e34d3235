"""What runs need is sent where the disk of the command is not: an executor hides it while a run is at work."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from lgbench.experiments.ablate import Ablate
from lgbench.experiments.base import Run
from lgbench.experiments.executors import InProcessExecutor
from lgbench.experiments.finish import train_run
from lgbench.experiments.launching import State, launch
from lgbench.experiments.loading import Loaded
from lgbench.experiments.monitor import Monitor
from lgbench.experiments.transport import Delivery, Job, carry_out, submit_with_files
from lgbench.training.state import STATE
from lgbench.util.errors import LgbenchError
from lgbench.util.files import owned_folder
from lgbench.util.processes import ProcessEndedError
from tests.tiny_training import STRINGS, TINY, tiny_plan, weights

pytestmark = pytest.mark.slow


class Elsewhere(InProcessExecutor):
    """Takes calls pickled, and executes them while the working directory that they were made in does not exist."""

    in_process, shares_disk = False, False

    def __init__(self) -> None:
        self.calls = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.calls += 1
        call, here = pickle.dumps((fn, args, kwargs)), Path.cwd()
        hidden = here.rename(here.with_name("hidden"))
        os.chdir(hidden.parent)
        try:
            function, arguments, keywords = pickle.loads(call)
            return super().submit(function, *arguments, **keywords)
        finally:
            hidden.rename(here)
            os.chdir(here)


@pytest.fixture(name="work")
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (work := tmp_path / "work").mkdir()
    monkeypatch.chdir(work)
    return work


def trained(folder: str, *, seed: int = 7) -> str:
    plan = tiny_plan("steps=5", seed=seed)
    train_run(Run(plan, Path(folder), folder), device="cpu", monitor=Monitor("", quiet=True), build=None)
    return folder


def planned(start: str | None, root: str, **options: Any) -> tuple[Loaded, list[Run]]:
    experiment = Ablate(group=STRINGS.name, seeds=1, change=TINY, start=start, **options)
    return Loaded.of(experiment), list(experiment.runs(Path(root), "cpu"))


def finished(loaded: Loaded, runs: Sequence[Run], executor: Any = None) -> None:
    outcomes = list(launch(loaded, runs, executor=executor, quiet=True))
    assert [each.state for each in outcomes] == [State.FINISHED] * len(runs), outcomes


@pytest.mark.parametrize("parts", [(), ("blocks.*",)])
def test_the_checkpoint_of_start_is_sent(work: Path, parts: tuple[str, ...]) -> None:
    start, executor = trained("runs/first"), Elsewhere()
    (loaded, there), (alone, here) = (planned(start, root, start_parts=parts) for root in ("there", "here"))
    finished(loaded, there, executor)
    finished(alone, here)
    assert executor.calls == len(there) == 3
    _, fresh = planned(None, "fresh")
    finished(alone, fresh)
    for sent, local, new in zip(there, here, fresh, strict=True):
        assert sent.record().curve == local.record().curve != new.record().curve
        assert weights(sent.folder).keys() == weights(local.folder).keys()
        assert all(value.equal(weights(local.folder)[name]) for name, value in weights(sent.folder).items())
        assert not (sent.folder / "runs").exists(), "what was sent does not come back as a part of the run"


def test_a_run_named_like_the_one_that_it_starts_from_is_another(work: Path) -> None:
    loaded, (run, *_) = planned(trained("runs/capitalize-seed0"), "other")
    assert run.folder.name == "capitalize-seed0"
    finished(loaded, [run], Elsewhere())
    assert (run.record().steps_done, run.record().plan.start) == (12, run.plan.start)


def test_a_run_that_has_begun_needs_its_start_no_more(work: Path) -> None:
    (loaded, (run, *_)), (_, (whole, *_)) = (planned(trained("runs/first"), root) for root in ("a", "b"))

    class Stopped(Monitor):
        def training(self, *arguments: Any) -> None:
            if arguments[1].step >= 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loaded.experiment.finish(run, "cpu", Stopped("", quiet=True))
    assert (run.folder / STATE).is_file()
    finished(loaded, [whole])
    Path("runs").rename("gone")
    finished(loaded, [run], Elsewhere())
    assert run.record().curve == whole.record().curve


def test_a_start_that_cannot_be_sent_is_refused_before_anything_starts(work: Path) -> None:
    first, executor = trained("runs/first"), Elsewhere()
    outside = Path(first).rename(work.parent / "outside")
    Path("link").symlink_to(outside)
    for start in (str(outside), "../outside", "link"):
        loaded, runs = planned(start, "there")
        # One that needs nothing sent comes first: it must not start either.
        runs = [runs[0]._replace(plan=runs[0].plan.model_copy(update={"start": None})), *runs[1:]]
        with pytest.raises(LgbenchError, match=r"must be a path within the working directory"):
            list(launch(loaded, runs, executor=executor))
    loaded, runs = planned(trained("runs/second"), "there")
    trained("runs/third", seed=8)
    Path("runs/second").rename("runs/away")
    with pytest.raises(LgbenchError, match="second"):
        list(launch(loaded, runs, executor=executor))
    Path("runs/third").rename("runs/second")
    with pytest.raises(LgbenchError, match="The run starts from other weights than those in 'runs/second'"):
        list(launch(loaded, runs, executor=executor))
    assert executor.calls == 0
    assert not Path("there").exists()


def test_a_run_that_cannot_be_packed_fails_alone_and_keeps_no_lock(work: Path) -> None:
    loaded, runs = planned(None, "there")
    runs[1].folder.parent.mkdir()
    runs[1].folder.write_text("in the way", "utf-8")
    outcomes = {each.run.name: each for each in launch(loaded, runs, executor=Elsewhere(), quiet=True)}
    failed = outcomes.pop(runs[1].name)
    assert failed.state is State.FAILED
    assert "is a file, not a folder" in str(failed.failure)
    assert {each.state for each in outcomes.values()} == {State.FINISHED}
    with owned_folder(runs[0].folder):
        pass


class Lossy(InProcessExecutor):
    """Has a mailbox, in which a job left something on the way, and gives back what it is told to."""

    in_process, shares_disk = False, False

    def __init__(self, delivery: Delivery | Exception) -> None:
        self.delivery, self.left = delivery, {"note": b"sent on the way", "state": b"step 600"}
        self.forgotten: list[str] = []

    def latest(self, key: str) -> dict[str, bytes]:
        return self.left

    def forget(self, key: str) -> None:
        self.forgotten.append(key)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if isinstance(self.delivery, Exception):
            future.set_exception(self.delivery)
        else:
            future.set_result(self.delivery)
        return future


def left_by(executor: Executor, folder: Path) -> tuple[BaseException | None, dict[str, bytes]]:
    """How a run ended on an executor, and what is in its folder then."""
    run = Run(tiny_plan(), folder, "a run")
    error = submit_with_files(executor, partial(print), run).exception()
    with owned_folder(folder):  # it was let go
        return error, {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_what_a_failed_run_gives_back_is_newer_than_what_it_sent(work: Path) -> None:
    failed = Lossy(Delivery(files={"note": b"given back", "training.json": b"step 900"}, error=LgbenchError("as told")))
    error, files = left_by(failed, Path("failed"))
    assert str(error) == "as told"
    assert files == {"note": b"given back", "training.json": b"step 900"}
    assert len(failed.forgotten) == 1, "a later round must not go on from it"
    lost = Lossy(ProcessEndedError("its machine is gone"))
    assert left_by(lost, Path("lost"))[1] == lost.left
    assert not lost.forgotten


def test_a_repeated_call_has_the_files_that_the_lost_one_sent_and_no_others(tmp_path: Path) -> None:
    """A file that a run deleted does not come back."""
    seen = []

    class Box:
        def __init__(self, files: dict[str, bytes]) -> None:
            self.files = files

        def get(self, key: str) -> dict[str, bytes]:
            return self.files

        def put(self, key: str, files: dict[str, bytes]) -> None:
            self.files = files

    def call(run: Run) -> None:
        seen.append(sorted(path.name for path in run.folder.iterdir()))

    run = Run(tiny_plan(), Path("runs/one"), "a run")
    files = {STATE: b"3", "training.json": b"3"}
    job = Job(key="k", call=partial(call), run=run, threads=None, user_files={}, files=files)
    carry_out(job, Box({"training.json": b"12"}))
    carry_out(job, Box({}))
    assert seen == [["training.json"], sorted(files)]


def test_a_run_that_cannot_be_submitted_fails_alone(work: Path) -> None:
    class Refusing(Lossy):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            raise pickle.PicklingError("cannot pickle")

    error, files = left_by(Refusing(LgbenchError("")), Path("b"))
    assert (str(error), files) == ("cannot pickle", {})
