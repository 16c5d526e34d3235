"""Runs through executors: in this process, in processes of their own, in the user's, and as several equal commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("torch")

from lgbench.experiments import ArmExperiment, Report, Run
from lgbench.experiments.ablate import Ablate
from lgbench.experiments.executors import ProcessesExecutor, open_executor
from lgbench.experiments.launching import State, check_folders, launch, shared_out
from lgbench.experiments.loading import Loaded
from lgbench.experiments.monitor import Monitor
from lgbench.experiments.options import converted
from lgbench.experiments.transport import write_files
from lgbench.training.state import STATE, read_state
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.files import owned_folder
from lgbench.util.processes import ProcessEndedError
from tests.shell import Shell
from tests.tiny_training import STRINGS, TINY, tiny_plan

SHORT = [part for change in TINY for part in ("--set", change)]
ROOT = Path(__file__).parents[2]
STUDY = (ROOT / "examples" / "my_study.py").read_text("utf-8")


@dataclass(frozen=True, kw_only=True)
class Noted(ArmExperiment):
    """Writes a file in each run's folder, or fails as told."""

    def prepare(self) -> None:
        pass  # the option `suite` names none here

    def runs(self, root: Path, device: str) -> Iterator[Run]:
        for number in range(4):
            yield Run(tiny_plan(seed=number), root / str(number), name=f"run {number}")

    def finish(self, run: Run, device: str, monitor: Monitor) -> None:
        with owned_folder(run.folder):
            if (note := run.folder / "note").exists():
                return
            if run.name == self.preset:
                os._exit(3)
            if run.name == self.suite:
                raise LgbenchError("as told")
            note.write_text(f"{run.name} {os.environ.get('CUDA_VISIBLE_DEVICES')}", "utf-8")

    def report(self, runs: Sequence[Run]) -> Report:
        return Report([run.name for run in runs])


def launched(
    experiment: Noted, root: Path, executor: Executor | None, *, which: slice = slice(None)
) -> dict[str, State]:
    outcomes = launch(Loaded.of(experiment), list(experiment.runs(root, "cpu"))[which], executor=executor)
    return {outcome.run.name: outcome.state for outcome in outcomes}


@pytest.mark.nightly
def test_each_call_has_a_process_that_takes_no_other_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with ProcessesExecutor(2, gpus=2) as executor:
        states = launched(Noted(preset="run 1", suite="run 2"), tmp_path, executor)
    assert states == {
        "run 0": State.FINISHED,
        "run 1": State.FAILED,
        "run 2": State.FAILED,
        "run 3": State.FINISHED,
    }
    seen = {(tmp_path / name / "note").read_text("utf-8").split()[-1] for name in "03"}
    assert seen <= {"4", "7"}, "each sees one of the GPUs"
    with ProcessesExecutor(2) as executor:
        again = launched(Noted(), tmp_path, executor, which=slice(1, 3))
    assert again == {"run 1": State.FINISHED, "run 2": State.FINISHED}
    assert (tmp_path / "1" / "note").exists()
    with ProcessesExecutor(1) as executor, pytest.raises(ProcessEndedError, match="killed or crashed"):
        executor.submit(os._exit, 1).result()


def test_runs_that_another_process_holds_are_left_to_it_and_looked_at_again(tmp_path: Path) -> None:
    with owned_folder(tmp_path / "1"):
        states = launched(Noted(), tmp_path, None)
    assert states.pop("run 1") is State.ELSEWHERE
    assert set(states.values()) == {State.FINISHED}
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with owned_folder(tmp_path / "again" / "0"):
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    experiment = Noted()
    runs = list(experiment.runs(tmp_path / "again", "cpu"))
    seen = []
    for outcome in launch(Loaded.of(experiment), runs):
        seen.append(outcome.run.name)
        assert outcome.state is State.FINISHED
        release.set()
        thread.join()
    assert seen == ["run 1", "run 2", "run 3", "run 0"], "the one that was held comes last, not never"


@pytest.mark.nightly
def test_equal_commands_share_a_folder(tmp_path: Path) -> None:
    """Three processes, started at once: no run is trained twice, and the last to end has the whole report."""
    options = ["--seeds", "2", "--output", str(tmp_path / "a")]
    command = [sys.executable, "-m", "lgbench", "ablate", STRINGS.name, *SHORT, *options]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [process.communicate() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], told
    lines = [line for _, err in told for line in err.splitlines() if "step 12/12" in line]
    assert len(lines) == len({line.partition(":")[0] for line in lines}) == 6
    assert any("learned" in out and out.count("  2 ") >= 3 for out, _ in told), "somebody saw them all"


def test_a_command_that_is_killed_leaves_its_run_to_an_equal_one(tmp_path: Path) -> None:
    changes = [*SHORT, "--set=steps=200", "--set=evaluate_every=50", "--output", str(tmp_path / "a")]
    lengths = ["--main-lengths", "2", "--aux-lengths", "4"]
    command = [sys.executable, "-m", "lgbench", "sweep", STRINGS.name, *lengths, *changes]
    killed = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (states := list(tmp_path.glob(f"a/*/{STATE}"))):
        assert time.monotonic() < deadline, "it did not begin"
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    assert states[0].exists(), "it was killed in the middle of the run"
    saved = read_state(states[0].parent)
    assert saved is not None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count(": done")) == (0, 1), done.stderr
    steps = [int(step) for step in re.findall(r"seed 0, step (\d+)/200", done.stderr, re.MULTILINE)]
    assert steps[0] > saved.record.steps_done, "resumed"
    assert not list(tmp_path.glob(f"a/*/{STATE}"))


def test_a_run_whose_folder_cannot_be_written_hurts_no_other(tmp_path: Path) -> None:
    (tmp_path / "2").write_text("in the way", "utf-8")
    experiment = Noted()
    runs = list(experiment.runs(tmp_path, "cpu"))
    outcomes = {each.run.name: each for each in launch(Loaded.of(experiment), runs)}
    failed = outcomes.pop("run 2")
    assert failed.state is State.FAILED
    assert "is a file, not a folder" in str(failed.failure)
    assert {each.state for each in outcomes.values()} == {State.FINISHED}


def test_a_share_of_the_runs(tmp_path: Path) -> None:
    runs = list(Noted().runs(tmp_path, "cpu"))
    shares = [shared_out(runs, index, 3) for index in range(3)]
    assert [[run.name for run in share] for share in shares] == [["run 0", "run 3"], ["run 1"], ["run 2"]]
    assert shared_out(runs, None, None) == runs
    for index, of, words in ((0, None, "go together"), (None, 2, "go together"), (2, 2, "from 0 to 1")):
        with pytest.raises(LgbenchError, match=words):
            shared_out(runs, index, of)


def test_runs_must_not_share_a_folder(tmp_path: Path) -> None:
    runs = list(Noted().runs(tmp_path, "cpu"))
    check_folders(runs)
    with pytest.raises(LgbenchError, match="'run 0' and 'run 1' share the folder"):
        check_folders([runs[0], runs[1]._replace(folder=runs[0].folder)])
    with pytest.raises(LgbenchError, match="'run 1' lies in that of 'run 0'"):
        check_folders([runs[0], runs[1]._replace(folder=runs[0].folder / "deep" / "in")])


def test_what_comes_back_is_written_through_no_link(tmp_path: Path) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    write_files(tmp_path / "run", {"old": b"1"})
    (tmp_path / "run" / "checkpoint").symlink_to(elsewhere)
    with pytest.raises(LgbenchError, match="checkpoint' is a link"):
        write_files(tmp_path / "run", {"a": b"1", "checkpoint/model": b"2"})
    assert list(elsewhere.iterdir()) == []
    assert [path.name for path in (tmp_path / "run").iterdir() if path.is_file()] == ["old"]


def test_text_becomes_options_or_is_refused() -> None:
    assert converted(Ablate, {"group": "copy-mqar", "seeds": "2", "change": ["steps=9", "a=1,2"]}) == {
        "group": "copy-mqar",
        "seeds": 2,
        "change": ("steps=9", "a=1,2"),
    }
    with pytest.raises(UnknownNameError, match=r"'sed' is not an option of Ablate. Did you mean 'seed'"):
        converted(Ablate, {"group": "copy-mqar", "sed": "1"})
    with pytest.raises(LgbenchError, match="Ablate needs the option 'group'"):
        converted(Ablate, {"seeds": "1"})
    with pytest.raises(LgbenchError, match=r"--seeds 'two': .*integer"):
        converted(Ablate, {"group": "copy-mqar", "seeds": "two"})
    with pytest.raises(LgbenchError, match="--seeds '0': must be 1 or more"):
        converted(Ablate, {"group": "copy-mqar", "seeds": "0"})


def test_a_study_of_the_users_own(lgbench: Shell) -> None:
    Path("my_study.py").write_text(STUDY, "utf-8")
    options = [part for change in TINY for part in ("--option", f"change={change}")]
    refused = lgbench("run", "my_study.py:Rates", *options)
    assert "name their folder with --output" in refused.err
    planned = lgbench("run", "my_study.py:Rates", *options, "--output", "out", "--dry-run")
    assert planned.status == 0, planned.err
    assert "0/12" in planned.out
    assert "2 runs, " in planned.out
    assert not Path("out").exists(), "nothing is trained"
    done = lgbench("run", "my_study.py:Rates", *options, "--output", "out", "--jobs", "2", "--json")
    assert done.status == 0, done.err
    printed = json.loads(done.out)
    assert list(printed["report"]) == ["rate 0.001", "rate 0.003"]
    assert sorted((run["state"], Path(run["folder"]).name) for run in printed["runs"]) == [
        ("finished", "rate0.001"),
        ("finished", "rate0.003"),
    ]
    again = lgbench("run", "my_study.py:Rates", *options, "--output", "out", "--quiet", "--option", "rates=0.001")
    assert (again.status, again.err) == (0, ""), again.err
    assert again.out.splitlines()[0] == "capitalize-reverse"
    wrong = lgbench("run", "my_study.py:Rates", "--option", "rate=1")
    assert "'rate' is not an option of Rates. Did you mean 'rates'" in wrong.err
    assert "is not an experiment" in lgbench("run", "my_study.py:dataclass").err
    assert "There is no file" in lgbench("run", "missing.py:Study").err
    assert "names no experiment" in lgbench("run", "my_study.py").err


def test_the_page_shows_the_example() -> None:
    assert f"```python\n{STUDY}```" in (ROOT / "docs" / "experiments.md").read_text("utf-8")


def test_an_executor_of_the_users_own(lgbench: Shell) -> None:
    Path("mine.py").write_text(
        "from concurrent.futures import ThreadPoolExecutor\n\ndef make():\n    return ThreadPoolExecutor(2)\n", "utf-8"
    )
    done = lgbench("ablate", STRINGS.name, *SHORT, "--seeds", "1", "--output", "a", "--executor", "mine.py:make")
    assert done.status == 0, done.err
    assert done.err.count(": done") == 3
    with pytest.raises(LgbenchError, match="made a int, which is not an executor"):
        open_executor("builtins:int")
    with pytest.raises(LgbenchError, match="names no executor"):
        open_executor("locale")
    assert isinstance(open_executor("mine.py:make"), ThreadPoolExecutor)


def test_seeds_and_executor_of_a_plan_are_checked_before_anything_runs(lgbench: Shell) -> None:
    for command in (["ablate"], ["sweep", "--main-lengths", "2", "--aux-lengths", "4"]):
        line = [command[0], STRINGS.name, *command[1:], *SHORT, "--seed", "7,9", "--output", "a", "--dry-run"]
        planned = lgbench(*line)
        assert planned.status == 0, planned.err
        assert "seed7" in planned.out
        assert "seed9" in planned.out
        assert "seed0" not in planned.out
        refused = lgbench(*line, "--executor", "locale")
        assert (refused.status, refused.out) == (1, "")
        assert "names no executor" in refused.err
    assert not Path("a").exists()
