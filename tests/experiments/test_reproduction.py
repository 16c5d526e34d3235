"""`lgbench reproduce` on a tiny model: every run once, resumable, and a comparison that says what was seen."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch  # after the skip

from lgbench.data.suites import load_suite
from lgbench.evaluation.rescoring import rescore
from lgbench.experiments import finish
from lgbench.experiments.base import Run
from lgbench.experiments.executors import ProcessesExecutor
from lgbench.experiments.finish import train_run
from lgbench.experiments.launching import Outcome, launch
from lgbench.experiments.loading import Loaded
from lgbench.experiments.monitor import Monitor
from lgbench.experiments.reproduce import Reproduce
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.results.schema import Result
from lgbench.scoring.systems import score_trained
from lgbench.training.record import read_training_record
from lgbench.training.trainer import train
from lgbench.util.records import read_record
from tests.tiny_training import tiny_plan

MINI = load_suite("mini-v1")
ARMS = ("main_only", "transfer", "control")
TINY = ("layers=1", "heads=2", "width=8", "hidden=8", "batch=64", "steps=2", "evaluate_every=1", "precision=float32")


REPRODUCE = Loaded.of(Reproduce())


def list_runs(root: Path, **options: Any) -> list[Run]:
    return list(Reproduce(**options).runs(root, "cpu"))


def execute(runs: Sequence[Run], *, jobs: int = 1) -> list[Outcome]:
    with ProcessesExecutor(jobs) as executor:
        return list(launch(REPRODUCE, runs, executor=None if jobs == 1 else executor))


def test_the_ceiling_comes_on_top_of_the_usual_arms() -> None:
    assert Reproduce().arms == ARMS
    assert Reproduce(arm=("direct",)).arms == (*ARMS, "direct")
    assert Reproduce(arm=("transfer", "main_only", "transfer")).arms == ("transfer", "main_only")
    assert Reproduce(arm=("direct", "transfer")).arms == ("direct", "transfer")


def test_arms_that_groups_share_run_once() -> None:
    runs = list_runs(Path("runs"), seeds=2)
    names = [run.name for run in runs]
    assert len(names) == len(set(names)) == 2 * 20
    assert names[:3] == ["add-carry main_only seed 0", "add-carry transfer seed 0", "add-carry control seed 0"]
    assert "add-subtract main_only seed 0" not in names
    assert "add-multiply main_only seed 1" in names
    assert all(run.plan.seed == 0 for run in runs[:20])
    shared = list_runs(Path("runs"), group=("add-subtract",), seeds=1)
    assert [run.folder.name for run in shared] == [
        "add-carry-main_only-seed0",
        "add-subtract-transfer-seed0",
        "add-subtract-control-seed0",
    ]


def test_a_run_that_is_named_for_another_group_is_told() -> None:
    told = ["The main_only run of add-subtract is that of add-carry, which trains on the same list."]
    assert Reproduce(group=("add-subtract",)).notes() == told
    assert Reproduce().notes() == told
    assert Reproduce(group=("add-subtract",), arm=("transfer", "control")).notes() == []
    assert Reproduce(group=("add-carry",)).notes() == []


def test_runs_are_trained_evaluated_and_taken_up_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = list_runs(tmp_path, group=("add-multiply",), arm=("main_only", "transfer"), seeds=1, change=TINY)
    # Untrained models never stop; what they write is cut short to keep the test so.
    monkeypatch.setattr("lgbench.models.checkpoint_predictor.generation_cap", lambda prompt: 8)
    outcomes = list(execute(runs))
    assert [(outcome.run, outcome.failure) for outcome in outcomes] == [(run, None) for run in runs]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")}
    assert len(before) == 2 * 3
    assert [outcome.failure for outcome in execute(runs)] == [None, None]
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json")} == before
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    runs = [run._replace(folder=moved / run.folder.name) for run in runs]
    assert [outcome.failure for outcome in execute(runs)] == [None, None]
    scores = score_trained([rescore(run.folder / "result").result for run in runs], MINI)
    assert [group.group.name for group in scores.groups] == ["add-multiply"]
    assert scores.verdicts["add-multiply"].word == "not testable", "without control and short_aux"


def test_an_interrupted_evaluation_goes_on_from_another_folder_and_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = list_runs(tmp_path, group=("copy-mqar",), arm=("main_only",), seeds=1, change=TINY)
    monkeypatch.setattr("lgbench.models.checkpoint_predictor.generation_cap", lambda prompt: 8)
    predict, asked = CheckpointPredictor.predict, []

    def failing_once(self: CheckpointPredictor, prompts: Sequence[str], task: str) -> list[str]:
        asked.append(len(prompts))
        if len(asked) == 2:
            raise MemoryError("no room")
        return predict(self, prompts, task)

    monkeypatch.setattr(CheckpointPredictor, "predict", failing_once)
    (outcome,) = execute([run])
    assert "no room" in (outcome.failure or "")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(finish, "choose_device", lambda name: "cuda")  # the CPU is then not the usual device
    (outcome,) = execute([run._replace(folder=Path(run.folder.name))])
    assert outcome.failure is None
    system = read_record(run.folder / "result" / "result.json", Result).system
    assert system.model == "copy-mqar-main_only-seed0/checkpoint"
    assert sum(asked[:1] + asked[2:]) == 256 * len(MINI.group("copy-mqar").grid) + 32, "no reply was asked for twice"


def test_a_run_that_fails_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copying(arm: str, *changes: str) -> Run:
        (run,) = list_runs(tmp_path, group=("copy-mqar",), arm=(arm, "main_only"), seeds=1, change=(*TINY, *changes))[
            :1
        ]
        return run

    monkeypatch.setattr(finish, "evaluate", lambda *arguments, **options: None)
    earlier = copying("main_only", "steps=1")
    train(earlier.plan, earlier.folder)
    first, second = execute([copying("main_only"), copying("transfer")])
    assert "holds another run (steps is 1 there and 2 here)" in (first.failure or "")
    assert second.failure is None

    def evaluate(*arguments: object, **options: object) -> None:
        if options["arm"] == "control":
            raise MemoryError("no room")

    monkeypatch.setattr(finish, "evaluate", evaluate)
    first, second = execute([copying("control"), copying("direct")])
    assert first.failure == "MemoryError: no room"
    assert second.failure is None


def test_processes_that_fail_or_die_are_told(tmp_path: Path) -> None:
    """Run in processes of their own: one raises at more length than a pipe holds, one vanishes as if it was killed."""
    runs: list[Run] = []
    for name, statement in (
        ("raises", "import lgbench; raise lgbench.LgbenchError('x' * 200_000)"),
        ("vanishes", "os._exit(3)"),
    ):
        source = tmp_path / f"{name}.py"
        source.write_text(f"import os\n\ndef build(size):\n    {statement}\n", encoding="utf-8")
        own = {"change": TINY[4:], "model": f"{source}:build"}
        runs += list_runs(tmp_path / name, group=("copy-mqar",), arm=("transfer",), seeds=1, **own)
    found = {outcome.run.folder.parent.name: outcome.failure or "" for outcome in execute(runs, jobs=2)}
    assert found["raises"] == "x" * 200_000
    assert "its process was killed or crashed" in found["vanishes"]


# Its first choice is always the end, token 2, so that evaluating it takes a moment in any process.
_SILENT = """
from torch import nn

def build(size):
    module = nn.Sequential(nn.Embedding(size, 4), nn.Linear(4, size))
    nn.init.zeros_(module[1].bias)
    module[1].bias.data[2] = 9.0
    return module
"""


def test_runs_side_by_side_end_in_the_weights_and_replies_of_runs_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lgbench.experiments.executors.cores", lambda: 2)  # so that each of two has one thread
    (source := tmp_path / "silent.py").write_text(_SILENT, encoding="utf-8")
    found = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for jobs in (1, 2):
            own = {"change": TINY[4:], "model": f"{source}:build"}
            runs = list_runs(tmp_path / str(jobs), group=("copy-mqar",), arm=ARMS[:2], seeds=1, **own)
            outcomes = execute(runs, jobs=jobs)
            assert [outcome.failure for outcome in outcomes] == [None] * 2
            assert sorted(outcome.run.name for outcome in outcomes) == sorted(run.name for run in runs)
            found.append([digests(run.folder) for run in runs])
    finally:
        torch.set_num_threads(threads)
    assert found[0] == found[1]
    assert len({weights for weights, _ in found[0]}) == 2


def digests(folder: Path) -> tuple[str, str]:
    """Of the weights and of the replies of a run."""
    weights = (folder / "checkpoint" / "model.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest(), read_record(folder / "result" / "result.json", Result).replies_sha256


def test_nothing_runs_on_when_the_command_is_killed(tmp_path: Path) -> None:
    """Its processes, and their workers, end with it: they would train on unseen."""
    with endless_runs(tmp_path) as command:
        command.kill()
        command.wait()
        await_(lambda: not lives(command.pid))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_runs_side_by_side_save_their_steps_when_asked_to_end(number: signal.Signals, tmp_path: Path) -> None:
    """As a terminal does with Ctrl-C, and a cluster before it ends a job: every process is asked."""
    with endless_runs(tmp_path) as command:
        os.killpg(command.pid, number)
        _, told = command.communicate()
        assert command.returncode == 128 + number
        assert told.endswith("\nInterrupted. Run the same command again to resume from the last saved steps.\n")
        assert "Traceback" not in told
        assert "leaked" not in told
        saved = [read_training_record(path.parent).steps_done for path in tmp_path.rglob("training.json")]
        assert len(saved) == 2
        assert all(f"the state after step {steps} was saved" in told for steps in saved)
        await_(lambda: not lives(command.pid))


@contextmanager
def endless_runs(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command that trains two runs side by side, once both have taken steps."""
    changes = [*TINY, "steps=100000", "evaluate_every=100000", "workers=1"]
    options = [part for change in changes for part in ("--set", change)]
    arguments = ["reproduce", "--group", "copy-mqar", "--jobs", "2", "--output", str(folder), *options]
    command = subprocess.Popen(
        [sys.executable, "-m", "lgbench", *arguments],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    try:
        begun: set[str] = set()
        while len(begun) < 2:
            begun |= {line.partition(", step")[0] for line in [command.stderr.readline()] if ", step" in line}
            assert command.poll() is None
        yield command
    finally:
        if lives(command.pid):
            os.killpg(command.pid, signal.SIGKILL)
        command.wait()
        command.stderr.close()


def await_(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about in five minutes")


def lives(group: int) -> bool:
    """Whether a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_run_says_early_how_long_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = tiny_plan("steps=30", "evaluate_every=25")
    run = Run(plan, tmp_path / "run", "a run")
    train_run(run, device="cpu", monitor=Monitor(run.name), build=None, tell=lambda _, __: "a point")
    told = re.sub(r"loss [\d.]+, [\d,]+ examples/s", "PACE", capsys.readouterr().err)
    told = re.sub(r"about \d+ s", "about SECONDS", told)
    assert told.splitlines() == [
        "a run, step 10/30: PACE; about SECONDS to go",
        "a run, step 25/30: PACE; a point",
        "a run, step 30/30: PACE; a point",
    ]
