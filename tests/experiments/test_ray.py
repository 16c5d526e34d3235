"""Runs on a real local Ray cluster of two nodes, one of which is killed: the same bytes as in one process."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytest.importorskip("torch")
ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster

from lgbench.evaluation.evaluator import evaluate
from lgbench.experiments.base import Run
from lgbench.experiments.executors import open_executor
from lgbench.experiments.finish import train_run
from lgbench.experiments.launching import Outcome, State, launch
from lgbench.experiments.loading import Loaded, load_experiment
from lgbench.experiments.monitor import Monitor
from lgbench.experiments.on_ray import RayExecutor
from lgbench.experiments.sharing import share_model
from lgbench.experiments.transport import python_files, read_files, write_files
from lgbench.models.loading import load_model
from lgbench.models.parallel import limited_threads
from lgbench.training.state import STATE
from lgbench.util.errors import LgbenchError
from lgbench.util.files import LOCK_FILE
from tests.experiments.test_sharing import MODEL, timeless
from tests.tiny_training import MINI, TINY, tiny_plan

STUDY = '''
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from lgbench.experiments import ArmExperiment, Report, Run
from lgbench.experiments.finish import train_run
from lgbench.training.hooks import Hook


@dataclass(frozen=True, kw_only=True)
class Study(ArmExperiment):
    doomed: str = ""
    gate: str = ""

    def runs(self, root, device):
        for seed in range(2):
            plan = self.recipe(device).plan("capitalize-reverse", "transfer", seed)
            yield Run(plan, root / f"seed{seed}", f"seed {seed}")

    def finish(self, run, device, monitor):
        train_run(run, device=device, monitor=monitor, build=None, hooks=[Witness(self.doomed, self.gate)])

    def report(self, runs):
        return Report([run.name for run in runs])


class Witness(Hook):
    """Notes where a process begins. Past a point it waits: on the doomed node until its end, elsewhere for the gate."""

    def __init__(self, doomed, gate):
        self.doomed, self.gate = doomed, gate
        self.node = ray.get_runtime_context().get_node_id() if doomed else "here"

    def start(self, training):
        with (training.folder / "starts").open("a") as file:
            file.write(f"{training.step} {self.node}\\n")

    def step(self, training, loss):
        def waits():
            return not training.is_interrupted and (self.node == self.doomed or not Path(self.gate).exists())

        while self.doomed and training.step > 5 and waits():
            time.sleep(0.1)
'''


@pytest.fixture(name="cluster", scope="module")
def started_cluster() -> Iterator[Any]:
    # A dead node is noticed after seconds, and one that answers slowly is not taken for dead.
    checks = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500, "health_check_timeout_ms": 20_000}
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": checks}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(name="study")
def written_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Loaded]:
    monkeypatch.chdir(tmp_path)
    Path("study.py").write_text(STUDY, "utf-8")

    def make(**options: str) -> Loaded:
        kind: Any = load_experiment("study.py:Study")
        return Loaded(experiment=kind(change=TINY, **options), reference="study.py:Study")

    return make


@contextmanager
def launched(loaded: Loaded, root: Path, executor: RayExecutor) -> Iterator[tuple[list[Run], Future[list[Outcome]]]]:
    """Runs at work in another thread. Whatever happens in the block, none of them is waited for in vain."""
    runs = list(loaded.experiment.runs(root, "cpu"))
    pool = ThreadPoolExecutor(1)
    try:
        yield runs, pool.submit(lambda: list(launch(loaded, runs, executor=executor)))
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    finally:
        pool.shutdown(wait=False)


def soon(condition: Callable[[], Any], what: str) -> Any:
    """What a condition gives once it is true."""
    deadline = time.monotonic() + 120
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.2)
    return found


def digests(folder: Path) -> dict[str, str]:
    """Of everything but what says when and where a run took place."""
    kept = {name: content for name, content in read_files(folder).items() if name not in ("training.json", "starts")}
    return {name: hashlib.sha256(content).hexdigest() for name, content in kept.items()}


def test_a_run_on_a_node_that_dies_is_resumed(cluster: Any, study: Callable[..., Loaded], tmp_path: Path) -> None:
    doomed = cluster.add_node(num_cpus=1)
    loaded = study(doomed=doomed.node_id, gate=str(tmp_path / "gate"))

    def sent() -> bool:
        """Whether the run on the doomed node has sent the state after its first point."""
        return any(
            STATE in files and files["starts"].decode() == f"0 {doomed.node_id}\n"
            for files in map(executor.mailbox.get, executor.mailbox.keys())
        )

    with (
        RayExecutor(cluster.address) as executor,
        launched(loaded, tmp_path / "ray", executor) as (runs, outcomes),
    ):
        soon(lambda: sent() or outcomes.done(), "no state arrived")
        assert not outcomes.done(), "the kill must come in the middle of the runs"
        cluster.remove_node(doomed, allow_graceful=False)
        (tmp_path / "gate").touch()
        assert [outcome.state for outcome in outcomes.result(timeout=150)] == [State.FINISHED] * 2
    starts = sorted([(run.folder / "starts").read_text("utf-8").splitlines() for run in runs], key=len)
    head = cluster.head_node.node_id
    assert starts == [[f"0 {head}"], [f"0 {doomed.node_id}", f"5 {head}"]], "resumed, and the other run once only"
    alone = study()
    here = list(alone.experiment.runs(tmp_path / "here", "cpu"))
    with limited_threads(1):
        assert all(outcome.state is State.FINISHED for outcome in launch(alone, here))
    for there, run in zip(runs, here, strict=True):
        assert digests(there.folder) == digests(run.folder)
        assert there.record().curve == run.record().curve
        assert not (there.folder / LOCK_FILE).exists()


def test_a_run_saves_and_sends_its_step_on_ctrl_c(cluster: Any, study: Callable[..., Loaded], tmp_path: Path) -> None:
    loaded = study(doomed=cluster.head_node.node_id)
    runs = list(loaded.experiment.runs(tmp_path / "ray", "cpu"))[:1]
    with RayExecutor(cluster.address) as executor:
        ended = Thread(target=lambda: list(launch(loaded, runs, executor=executor)))
        ended.start()
        soon(lambda: any(STATE in executor.mailbox.get(key) for key in executor.mailbox.keys()), "no state arrived")  # noqa: SIM118
        executor.shutdown(wait=False, cancel_futures=True)  # as a command does
    ended.join(60)
    assert not ended.is_alive()
    assert (runs[0].folder / STATE).is_file()
    alone = study()
    (outcome,) = launch(alone, runs)
    assert outcome.state is State.FINISHED
    assert (runs[0].folder / "starts").read_text("utf-8").splitlines()[-1] == "6 here"


def test_the_checkpoint_of_start_reaches_the_workers(
    cluster: Any, study: Callable[..., Loaded], tmp_path: Path
) -> None:
    first = Run(tiny_plan("steps=5", seed=7), Path("runs/first"), "first")
    train_run(first, device="cpu", monitor=Monitor("", quiet=True), build=None)
    loaded, away = study(start="runs/first"), study(start=str(tmp_path / "runs" / "first"))
    there, here = (list(loaded.experiment.runs(tmp_path / root, "cpu")) for root in ("ray", "here"))
    with RayExecutor(cluster.address) as executor:
        with pytest.raises(LgbenchError, match="must be a path within the working directory"):
            list(launch(away, list(away.experiment.runs(tmp_path / "away", "cpu")), executor=executor))
        assert not (tmp_path / "away").exists()
        assert [outcome.state for outcome in launch(loaded, there, executor=executor)] == [State.FINISHED] * 2
    with limited_threads(1):
        assert all(outcome.state is State.FINISHED for outcome in launch(loaded, here))
    for sent, local in zip(there, here, strict=True):
        assert digests(sent.folder) == digests(local.folder)
        assert sent.record().curve == local.record().curve
        assert sent.record().plan.start is not None


def test_cells_are_shared_out_over_the_cluster(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MODEL, "utf-8")
    train_run(Run(tiny_plan(), Path("run"), "a run"), device="cpu", monitor=Monitor("", quiet=True), build=None)
    with RayExecutor(cluster.address, keep=True) as executor:
        assert executor.slots >= 1
        for name in ("mine.py:Sometimes", "run/checkpoint"):
            place = name.partition(":")[0].replace("/", "-")
            shared = share_model(name, {}, executor, jobs=2, suite=MINI)
            evaluate(shared, output=f"{place}-shared", tasks="reverse", limit=6)
            evaluate(load_model(name), output=f"{place}-alone", tasks="reverse", limit=6)
            there, here = timeless(Path(f"{place}-shared")), timeless(Path(f"{place}-alone"))
            for each in (there, here):
                del each["environment"]["git_commit"], each["environment"]["git_dirty"]
            assert there == here
        with pytest.raises(LgbenchError, match=r"There is no file 'gone.py'"):
            share_model("gone.py:Model", {}, executor, jobs=2, suite=MINI)


def test_what_ray_cannot_do_is_a_sentence(cluster: Any) -> None:
    with pytest.raises(LgbenchError, match="No machine of the Ray cluster has 64 cores, which each run needs"):
        RayExecutor(cluster.address, cores=64)
    ray.shutdown()
    with pytest.raises(LgbenchError, match=r"The Ray cluster '127.0.0.1:1' does not answer: .* `ray start --head`"):
        open_executor("ray:127.0.0.1:1")


def test_a_worker_of_another_version_is_told(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgbench.experiments.on_ray.__version__", "0.0.1")
    with RayExecutor(cluster.address) as executor:
        with pytest.raises(LgbenchError, match=r"has lgbench .*, and this is 0\.0\.1\. Install the same version"):
            executor.submit(len, "abc").result()
        monkeypatch.undo()
        assert executor.submit(len, "abc").result() == 3
        with pytest.raises(ZeroDivisionError):
            executor.submit(divmod, 1, 0).result()


def test_folders_travel_whole_and_stay_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {"a": b"1", "checkpoint/model": b"2"}
    write_files(tmp_path / "to", {**files, "old": b"3"})
    (tmp_path / "to" / LOCK_FILE).touch()
    (tmp_path / "to" / "link").symlink_to(tmp_path)
    write_files(tmp_path / "to", files)
    assert read_files(tmp_path / "to") == files
    for path in ("../out", "/out", "a/../../out"):
        with pytest.raises(LgbenchError, match="is not a path in a run's folder"):
            write_files(tmp_path / "to", {path: b""})
    (tmp_path / "mine" / "package").mkdir(parents=True)
    for name in ("model.py", "beside.py", "package/__init__.py", "package/part.py", "data.txt"):
        (tmp_path / "mine" / name).write_text(name, "utf-8")
    monkeypatch.chdir(tmp_path / "mine")
    assert set(python_files(["model.py:build", "mini-v1"])) == {
        "model.py",
        "beside.py",
        "package/__init__.py",
        "package/part.py",
    }
    monkeypatch.chdir(tmp_path / "to")
    with pytest.raises(LgbenchError, match="lies outside the working directory"):
        python_files([f"{tmp_path}/mine/model.py:build"])
