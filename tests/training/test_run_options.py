"""--hook, --hook-option, --model-option, --start and --start-parts as a user types them, and `retrain` of such runs."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from lgbench.training.record import read_training_record
from tests.cli.test_training_commands import SHORT, SMALL
from tests.shell import Shell

MODULE = """\
from torch import nn

def build(size, width: int = 4, bias: bool = True):
    assert isinstance(width, int)
    return nn.Sequential(nn.Embedding(size, width), nn.Linear(width, size, bias=bias))

def interrupted(size):
    raise KeyboardInterrupt

def needy(size, width: int):
    return build(size, width)
"""
HOOKS = """\
import os
import signal
from fractions import Fraction
from lgbench.data.mixtures import Part
from lgbench.training.hooks import Hook

class Curriculum(Hook):
    def __init__(self, at: int, length: int = 4):
        self.at, self.length = at, length

    def step(self, training, loss):
        if training.step == self.at:
            training.set_mixture([Part("string_copy", self.length, Fraction(1))])

class Failing(Hook):
    def point(self, training, point):
        raise ValueError("no more")

class Interrupting(Hook):
    def step(self, training, loss):
        if training.step == 3:
            os.kill(os.getpid(), signal.SIGINT)

class Counting(Hook):
    def step(self, training, loss):
        print("step", training.step)
"""
TRAIN = ["train", "copy-mqar", "main_only"]


@pytest.fixture(name="lgbench")
def lgbench_with_files(lgbench: Shell, short_replies: None) -> Shell:
    Path("mine.py").write_text(MODULE, encoding="utf-8")
    Path("hooks.py").write_text(HOOKS, encoding="utf-8")
    return lgbench


def plan_of(folder: str) -> Any:
    return json.loads((Path(folder) / "training.json").read_text("utf-8"))["plan"]


def weights(folder: str) -> bytes:
    return (Path(folder) / "checkpoint" / "model.safetensors").read_bytes()


def test_hooks_by_name_are_recorded(lgbench: Shell) -> None:
    hooks = ["--hook", "keep-points", "--hook", "stop-when", "--hook-option", "stop-when.step=2"]
    done = lgbench(*TRAIN, *SMALL, *hooks, "--output", "a")
    assert done.status == 0, done.err
    assert "step 2/4: a hook stopped it: step 2 was reached" in done.err
    command = shlex.join(["lgbench", *TRAIN, *SMALL, *hooks, "--output", "a", "--resume"])
    assert done.out.endswith(f"Resume from step 2 with:\n  {command}\n")
    assert "on 128 examples" in done.out
    assert [path.name for path in Path("a/points").iterdir()] == ["step2"]
    assert plan_of("a")["hooks"] == [
        {"name": "keep-points", "options": {}, "sha256": None},
        {"name": "stop-when", "options": {"step": "2"}, "sha256": None},
    ]
    other = " ".join(lgbench(*TRAIN, *SMALL, "--output", "a", "--resume").err.split())
    assert "its hooks are keep-points, stop-when (step=2) there and none here" in other
    assert lgbench(*TRAIN, *SMALL, "--output", "b").status == 0
    assert not {"hooks", "start", "model_options"} & plan_of("b").keys()


def test_a_users_hook_that_changes_the_data(lgbench: Shell) -> None:
    own = ["--hook", "hooks.py:Curriculum", "--hook-option", "hooks.py:Curriculum.at=2"]
    done = lgbench(*TRAIN, *SMALL, *own, "--output", "a")
    assert done.status == 0, done.err
    assert "step 2/4: from step 2 on it trains 1 string_copy to 4" in done.err
    command = done.out.splitlines()[-1].split()
    assert "--arm" not in command
    assert lgbench(*command[1:], "--limit", "1", "--output", "e").status == 0
    Path("hooks.py").write_text(HOOKS + "\n", encoding="utf-8")
    assert "the file of the hook hooks.py:Curriculum has changed since" in " ".join(
        lgbench(*TRAIN, *SMALL, *own, "--output", "a", "--resume").err.split()
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--hook", "keep-pionts"], "names no hook. Write keep-points, stop-when, tensorboard"),
        (["--hook", "hooks.py:Nothing"], "has no hook 'Nothing'"),
        (["--hook", "hooks.py:Curriculum"], "add --hook-option hooks.py:Curriculum.at=VALUE"),
        (["--hook", "keep-points", "--hook-option", "keep-points.n=3"], "has no hook option 'n'. It takes none."),
        (["--hook", "stop-when", "--hook-option", "stop-when.step=x"], "must be of type"),
        (["--hook", "stop-when"], "needs an accuracy or a step"),
        (["--hook-option", "stop-when.step=3"], "is for the hook 'stop-when', which is not given. Given: none."),
        (["--hook", "stop-when", "--hook-option", "step=3"], "does not read as NAME.key=value"),
        (["--hook", "stop-when", "--hook", "stop-when"], "is given twice"),
        (["--model-option", "depth=4"], "is for a module of your own"),
        (["--start-parts", "blocks.*"], "needs --start FOLDER"),
        (["--start", "hooks.py"], "holds no checkpoint"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    lgbench: Shell, given: list[str], message: str
) -> None:
    done = lgbench(*TRAIN, *SMALL, *given, "--output", "a")
    assert done.status == 1
    assert message in " ".join(done.err.split())
    assert not Path("a").exists()


def test_ctrl_c_saves_between_points(lgbench: Shell) -> None:
    command = [*TRAIN, *SMALL, "--set", "steps=6", "--set", "evaluate_every=6", "--hook", "hooks.py:Interrupting"]
    stopped = lgbench(*command, "--output", "a run", "--resume")
    assert stopped.status == 130
    assert "step 3/6: the state after step 3 was saved" in stopped.err
    told = stopped.err.partition("\nInterrupted. Resume from step 3 with:\n")[2].strip()
    assert told == shlex.join(["lgbench", *command, "--output", "a run", "--resume"])
    assert lgbench(*shlex.split(told)[1:]).status == 0
    assert lgbench(*command[:-2], "--output", "whole").status == 0
    assert weights("a run") == weights("whole")


def test_ctrl_c_before_the_first_step(lgbench: Shell) -> None:
    stopped = lgbench(*TRAIN, *SHORT, "--model", "mine.py:interrupted", "--output", "a")
    assert stopped.status == 130
    assert "Interrupted before the first step was done: there was nothing to save." in stopped.err


def test_a_hook_that_raises_keeps_what_was_saved(lgbench: Shell) -> None:
    done = lgbench(*TRAIN, *SMALL, "--hook", "hooks.py:Failing", "--output", "a")
    assert done.status == 1
    assert "The hook Failing, in point at step 2, raised ValueError: no more" in " ".join(done.err.split())
    assert 'raise ValueError("no more")' in done.err


@pytest.mark.parametrize("command", [["reproduce", "--group", "copy-mqar", "--arm", "main_only", "--seeds", "1"]])
def test_experiments_take_all_of_them(lgbench: Shell, command: list[str]) -> None:
    assert lgbench(*TRAIN, *SHORT, "--model", "mine.py:build", "--model-option", "width=8", "-o", "first").status == 0
    own = [*SHORT, "--model", "mine.py:build", "--model-option", "width=8", "--hook", "keep-points"]
    own += ["--start", "first", "--start-parts", "0.*"]
    refused = lgbench(*command, *own)
    assert "name their folder with --output" in refused.err
    done = lgbench(*command, *own, "--output", "r")
    assert done.status == 0, done.err
    (run,) = Path("r").iterdir()
    plan = plan_of(str(run))
    assert (plan["model_options"], plan["start"]["parts"]) == ({"width": "8"}, ["0.*"])
    assert [hook["name"] for hook in plan["hooks"]] == ["keep-points"]
    assert (run / "points" / "step2" / "checkpoint.json").exists()
    assert (run / "result" / "result.json").exists(), "evaluated without naming the options again"
    again = lgbench(*command, *own, "--output", "r", "--jobs", "2")
    assert again.status == 0, again.err
    assert again.out == done.out
    assert lgbench(*command, *own, "--output", "r", "--dry-run").status == 0


def test_a_run_of_an_experiment_whose_data_a_hook_changed_has_no_result(lgbench: Shell) -> None:
    command = ["reproduce", "--group", "copy-mqar", "--arm", "main_only", "--seeds", "1", *SMALL, "--output", "r"]
    hook = ["--hook", "hooks.py:Curriculum", "--hook-option", "hooks.py:Curriculum.at=1"]
    done = lgbench(*command, *hook)
    assert done.status == 1
    assert "A hook changed what the run trained on, so that it is no run of arm main_only" in " ".join(done.err.split())
    stopped = lgbench(*command[:-1], "s", "--hook", "stop-when", "--hook-option", "stop-when.step=2")
    assert stopped.status == 1
    assert "A hook stopped the run after step 2 of 4." in stopped.err


def test_a_hook_works_in_other_processes_and_in_a_study(lgbench: Shell) -> None:
    Path("study.py").write_text(
        "from dataclasses import dataclass\n"
        "from lgbench.experiments import Experiment, Report, Run\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Study(Experiment):\n"
        "    def runs(self, root, device):\n"
        "        from lgbench.data.suites import load_suite\n"
        "        from lgbench.training.spec import Recipe\n"
        f"        changes = {SMALL[1::2]!r}\n"
        "        recipe = Recipe(load_suite('mini-v1'), changes=changes)\n"
        "        for seed in range(2):\n"
        "            yield Run(recipe.plan('copy-mqar', 'main_only', seed), root / str(seed), f'seed {seed}')\n"
        "    def report(self, runs):\n"
        "        return Report([f'{len(runs)} runs'])\n",
        encoding="utf-8",
    )
    hook = ["--hook", "hooks.py:Curriculum", "--hook-option", "hooks.py:Curriculum.at=2"]
    done = lgbench("run", "study.py:Study", *hook, "--jobs", "2", "--output", "r")
    assert done.status == 0, done.err
    assert done.out == "2 runs\n"
    assert all(read_training_record(Path("r", seed)).data_changed for seed in "01")


def test_options_of_a_module(lgbench: Shell) -> None:
    own = ["--model", "mine.py:build", "--model-option", "width=6", "--model-option", "bias=false"]
    done = lgbench(*TRAIN, *SHORT, *own, "--output", "a")
    assert done.status == 0, done.err
    record = json.loads(Path("a/checkpoint/checkpoint.json").read_text("utf-8"))
    assert record["build_options"] == plan_of("a")["model_options"] == {"width": "6", "bias": "false"}
    command = done.out.splitlines()[-1].split()
    assert command[-2:] == ["--model-option", "build=mine.py:build"]
    assert lgbench(*command[1:], "--limit", "1", "--output", "e").status == 0
    other = lgbench(*TRAIN, *SHORT, *own[:4], "--output", "a", "--resume")
    assert "model_options is {'width': '6', 'bias': 'false'} there" in " ".join(other.err.split())
    assert lgbench(*TRAIN, *SHORT, *own[:2], "--output", "b").status == 0
    assert "build_options" not in json.loads(Path("b/checkpoint/checkpoint.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["mine.py:build", "--model-option", "depth=3"], "has no model option 'depth'. Valid: width, bias."),
        (["mine.py:build", "--model-option", "size=3"], "has no model option 'size'. Valid: width, bias."),
        (["mine.py:build", "--model-option", "width=x"], "must be of type int"),
        (["mine.py:build", "--model-option", "width"], "does not read as key=value"),
        (["mine.py:needy"], "needs the model option 'width': add --model-option width=VALUE"),
    ],
)
def test_options_that_a_module_does_not_take(lgbench: Shell, given: list[str], message: str) -> None:
    done = lgbench(*TRAIN, *SHORT, "--model", *given, "--output", "a")
    assert done.status == 1
    assert message in " ".join(done.err.split())
    assert not Path("a").exists()


def test_retrain_runs_only_the_hooks_that_the_user_names(lgbench: Shell) -> None:
    own = ["--hook", "hooks.py:Curriculum", "--hook-option", "hooks.py:Curriculum.at=2", "--hook", "keep-points"]
    assert lgbench(*TRAIN, *SMALL, *own, "--output", "a").status == 0
    refused = lgbench("retrain", "a")
    assert refused.status == 1
    assert "The run had the hook 'hooks.py:Curriculum'. lgbench runs no code because a record names it" in " ".join(
        refused.err.split()
    )
    shutil.copy("hooks.py", "elsewhere.py")
    done = lgbench("retrain", "a", "--hook", "elsewhere.py:Curriculum", "--output", "again")
    assert done.status == 0, done.out + done.err
    assert "A hook changed what the run trained on: it is not a result of arm main_only." in done.err
    assert weights("again/a") == weights("a")
    assert Path("again/a/points/step2").exists(), "hooks of lgbench's own are taken from the record"
    surplus = lgbench("retrain", "a", "--hook", "elsewhere.py:Curriculum", "--hook", "hooks.py:Counting")
    assert "The run had no hook 'hooks.py:Counting'" in " ".join(surplus.err.split())
    Path("elsewhere.py").write_text(HOOKS + "\n", encoding="utf-8")
    other = lgbench("retrain", "a", "--hook", "elsewhere.py:Curriculum", "--output", "b")
    assert "is not the hook of the run, 'hooks.py:Curriculum': the SHA-256 of its file is" in " ".join(
        other.err.split()
    )


def test_retrain_needs_the_same_start_and_repeats_the_options(lgbench: Shell) -> None:
    own = ["--model", "mine.py:build", "--model-option", "width=6"]
    assert lgbench(*TRAIN, *SHORT, *own, "--output", "first").status == 0
    assert lgbench(*TRAIN, *SHORT, *own, "--start", "first", "--seed", "1", "--output", "a").status == 0
    again = ["retrain", "a", "--model", "mine.py:build"]
    assert "The run started from the checkpoint 'first'. Name the folder" in " ".join(lgbench(*again).err.split())
    assert "starts from other weights than those in 'a'" in " ".join(lgbench(*again, "--start", "a").err.split())
    shutil.move("first", "moved")
    done = lgbench(*again, "--start", "moved", "--output", "again")
    assert done.status == 0, done.out + done.err
    assert weights("again/a") == weights("a")
    assert "leave --start out" in lgbench("retrain", "moved", "--model", "mine.py:build", "--start", "a").err


def test_what_a_program_gave_cannot_be_trained_again(lgbench: Shell) -> None:
    assert lgbench(*TRAIN, *SMALL, "--output", "a").status == 0
    record = json.loads(Path("a/training.json").read_text("utf-8"))
    Path("a/training.json").write_text(json.dumps(record | {"source": "Mine"}), encoding="utf-8")
    assert "The run's examples came from Mine, which a Python program gave to it" in " ".join(
        lgbench("retrain", "a").err.split()
    )
    change = {"step": 1, "parts": [{"pool": "x", "share": "1"}]}
    Path("a/training.json").write_text(json.dumps(record | {"changes": [change]}), encoding="utf-8")
    assert "changed by a hook that a Python program gave" in " ".join(lgbench("retrain", "a").err.split())
    for folder in ("../outside", "/tmp/outside"):
        hook = {"name": "tensorboard", "options": {"folder": folder}, "sha256": None}
        plan = record["plan"] | {"hooks": [hook]}
        Path("a/training.json").write_text(json.dumps(record | {"plan": plan}), encoding="utf-8")
        pytest.importorskip("tensorboard")
        assert "writes into the run's folder" in " ".join(lgbench("retrain", "a", "--output", "b").err.split())
