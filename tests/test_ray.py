"""Runs on a real local Ray cluster of two nodes, one of which is killed: the same bytes as in one process."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
ray = pytest.importorskip("ray")

from ray.cluster_utils import Cluster

from lgbench.errors import LgbenchError
from lgbench.experiments.executors import open_executor
from lgbench.experiments.launch import State, launch
from lgbench.experiments.loading import Loaded
from lgbench.experiments.on_ray import RayExecutor
from lgbench.experiments.sweep import Sweep
from lgbench.experiments.transport import python_files, read_files, write_files
from lgbench.files import LOCK_FILE
from lgbench.models.parallel import limited_threads

from .tiny_training import STRINGS, TINY

SWEEP = Sweep(
    group=STRINGS.name,
    main_lengths=(2, 4),
    aux_lengths=(4,),
    change=(*TINY, "steps=1500", "evaluate_every=50"),
)


@pytest.fixture(name="cluster", scope="module")
def started_cluster() -> Iterator[Any]:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def digests(folder: Path) -> dict[str, str]:
    """Of everything but what says when and where a run took place."""
    files = {name: content for name, content in read_files(folder).items() if name != "training.json"}
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def test_a_node_that_dies_costs_nothing(cluster: Any, tmp_path: Path) -> None:
    doomed = cluster.add_node(num_cpus=1)
    with RayExecutor(cluster.address) as executor, ThreadPoolExecutor(1) as pool:
        runs = list(SWEEP.runs(tmp_path / "ray", "cpu"))
        outcomes = pool.submit(lambda: list(launch(Loaded.of(SWEEP), runs, executor=executor)))
        deadline = time.monotonic() + 120
        while len(executor.mailbox.keys()) < 2 and not outcomes.done():
            assert time.monotonic() < deadline, "no state of both runs arrived"
            time.sleep(0.2)
        assert not outcomes.done(), "the kill must come in the middle of the runs"
        cluster.remove_node(doomed, allow_graceful=False)
        assert [outcome.state for outcome in outcomes.result()] == [State.FINISHED] * 2
    here = list(SWEEP.runs(tmp_path / "here", "cpu"))
    with limited_threads(1):
        assert all(outcome.state is State.FINISHED for outcome in launch(Loaded.of(SWEEP), here))
    for there, run in zip(runs, here, strict=True):
        assert digests(there.folder) == digests(run.folder)
        assert there.record().curve == run.record().curve
        assert not (there.folder / LOCK_FILE).exists()


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
        with pytest.raises(LgbenchError, match="is no path in a run's folder"):
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
