"""train, reproduce, sweep, plot and export as a user types them, and the bundled checkpoints."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from lgbench.data.cells import draw_cell
from lgbench.data.suites import Cell, load_suite
from lgbench.evaluation.rescoring import rescore
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.construction import load_build
from lgbench.models.loading import load_model
from lgbench.training import trainer
from lgbench.training.steps import take_step
from lgbench.util.errors import LgbenchError
from tests.shell import Shell

ROOT = Path(__file__).parents[2]
TINY = ROOT / "lgbench" / "checkpoints" / "tiny"
MINI = load_suite("mini-v1")
SMALL = [
    part
    for change in ("layers=1", "heads=2", "width=8", "hidden=8", "batch=64", "steps=4", "evaluate_every=2")
    for part in ("--set", change)
]
SHORT = SMALL[8:]  # for a user's module, whose shape is its own
MODULE = """\
from torch import nn

def build(size):
    return nn.Sequential(nn.Embedding(size, 4), nn.Linear(4, size))
"""


@pytest.fixture(name="lgbench")
def lgbench_with_short_replies(lgbench: Shell, short_replies: None) -> Shell:
    return lgbench


def test_train_says_what_it_cost_and_how_to_go_on(lgbench: Shell) -> None:
    done = lgbench("train", "copy-mqar", "transfer", *SMALL, "--output", "runs/a")
    assert done.status == 0, done.err
    assert re.search(r"step 4/4: loss \d\.\d+, [\d,]+ examples/s; string_copy in-distribution 0\.0 %", done.err)
    assert re.search(
        r"on 256 examples \([\d,]+ tokens, of which [\d,]+ in targets\) .* [\d,]+ MB of memory at most", done.out
    )
    command = done.out.splitlines()[-1].split()
    assert command[:3] == ["lgbench", "eval", "runs/a/checkpoint"]
    assert lgbench(*command[1:], "--limit", "2", "--output", "runs/b").status == 0
    assert json.loads(Path("runs/b/result.json").read_text("utf-8"))["system"]["kind"] == "checkpoint"


def test_a_model_that_is_not_evaluated_yet_is_told_with_the_command(lgbench: Shell) -> None:
    own = ["--model", "mine.py:build"]
    Path("mine.py").write_text(MODULE, encoding="utf-8")
    assert lgbench("train", "copy-mqar", "main_only", *SHORT, *own, "--seed", "2", "--output", "runs/a b").status == 0
    command = [*("eval", "runs/a b/checkpoint", "--suite", "mini-v1", "--group", "copy-mqar", "--arm", "main_only")]
    command += ["--seed", "2", "--model-option", "build=mine.py:build", "--output", "runs/a b/result"]
    told = "Error: 'runs/a b' holds a trained model but no evaluation. Evaluate it with `lgbench eval`:\n  lgbench "
    for asked in ("show", "compare", "errors"):
        assert lgbench(asked, "runs/a b").err == f"{told}{shlex.join(command)}\n"
    shutil.copytree("runs/a b", "runs/b")
    assert "'runs' holds 2 trained models but no evaluation. Evaluate each with" in lgbench("show", "runs").err
    assert lgbench(*command, "--limit", "2").status == 0
    assert lgbench("show", "runs/a b").status == 0


def test_a_checkpoint_is_evaluated_as_what_it_was_trained_as(lgbench: Shell) -> None:
    assert lgbench("train", "add-carry", "main_only", *SMALL, "--seed", "3", "--output", "runs/a").status == 0
    ask = ["eval", "runs/a", "--limit", "2", "--length", "4", "--quiet"]
    told = "trained as arm 'main_only' of group 'add-carry' of mini-v1, seed 3; it cannot be evaluated as arm"
    for wrong in (
        ["--group", "add-carry", "--arm", "transfer"],
        ["--group", "copy-mqar", "--arm", "main_only"],
        ["--group", "add-carry", "--arm", "main_only", "--seed", "4"],
        ["--group", "add-carry", "--arm", "main_only", "--suite", "standard-v1"],
    ):
        assert told in " ".join(lgbench(*ask, *wrong).err.split())
    for number, group in enumerate(("add-carry", "add-subtract")):  # whose lists are the same
        assert lgbench(*ask, "--group", group, "--arm", "main_only", "--output", f"r{number}").status == 0
        assert json.loads(Path(f"r{number}/result.json").read_text("utf-8"))["seed"] == 3
    done = lgbench(*[each for each in ask if each != "--quiet"], "--task", "reverse", "--output", "open")
    assert "To evaluate it as such: --suite mini-v1 --group add-carry --arm main_only" in " ".join(done.err.split())


def test_a_run_says_where_it_starts_and_what_shapes_it(lgbench: Shell) -> None:
    Path("mine.py").write_text(MODULE, encoding="utf-8")
    done = lgbench("train", "copy-mqar", "transfer", *SMALL, "--resume", "--output", "runs/new")
    assert "There is no run in 'runs/new' to resume: this one starts at step 0." in done.err
    own = ["train", "copy-mqar", "transfer", "--model", "mine.py:build"]
    assert "--set layers shapes the reference model only" in lgbench(*own, "--set", "layers=3").err
    (leftover := Path("runs/new/.state.safetensors.abc.lgbench-tmp")).write_text("", encoding="utf-8")
    assert lgbench("train", "copy-mqar", "transfer", *SMALL, "--resume", "--output", "runs/new").status == 0
    assert not leftover.exists()


def test_what_a_sweep_trained_is_no_arm_of_the_suite(lgbench: Shell) -> None:
    lengths = ["--main-lengths", "2", "--aux-lengths", "4"]
    assert lgbench("sweep", "copy-mqar", *lengths, *SMALL, "--output", "runs").status == 0
    (run,) = (path.parent for path in Path("runs").rglob("training.json"))
    done = lgbench("eval", str(run), "--group", "copy-mqar", "--arm", "transfer", "--limit", "2")
    assert "trained as arm 'open'" in done.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["copy", "transfer"], "Did you mean 'copy-mqar'"),
        (["copy-mqar", "open"], "'open' is not a trained arm"),
        (["copy-mqar", "transfer", "--preset", "maxi"], "Did you mean 'mini'"),
        (["copy-mqar", "transfer", "--suite", "mini-v0"], "Did you mean 'mini-v"),
        (["copy-mqar", "transfer", "--set", "step=3"], "Did you mean 'steps'"),
        (["copy-mqar", "transfer", "--model", "gone.py:build"], "There is no file 'gone.py'"),
        (["copy-mqar", "transfer", "--device", "tpu"], "Valid: auto, cpu, cuda"),
    ],
)
def test_train_refuses_what_does_not_exist(lgbench: Shell, arguments: list[str], sentence: str) -> None:
    done = lgbench("train", *arguments)
    assert done.status == 1
    assert sentence in done.err
    assert not Path("runs").exists()


def test_a_users_module_goes_all_the_way(lgbench: Shell) -> None:
    Path("mine.py").write_text(MODULE, encoding="utf-8")
    done = lgbench("train", "copy-mqar", "main_only", *SHORT, "--model", "mine.py:build", "--output", "a")
    assert done.status == 0, done.err
    command = done.out.splitlines()[-1].split()
    assert command[-2:] == ["--model-option", "build=mine.py:build"]
    assert lgbench(*command[1:], "--limit", "1", "--output", "b").status == 0
    refused = lgbench(*command[1:-2], "--limit", "1", "--output", "c")
    assert refused.status == 1
    assert "--model-option build=mine.py:build" in refused.err
    with pytest.raises(LgbenchError, match=r"has no function 'biuld'\. It defines: build"):
        load_build("mine.py:biuld")
    with pytest.raises(LgbenchError, match=r"^'nosuch\.mod:f' names no function: 'nosuch\.mod' is no \.py file and no"):
        load_build("nosuch.mod:f")
    assert load_build("mine.py:build.__call__")(80)


def test_train_refuses_an_unfit_module(lgbench: Shell) -> None:
    Path("bad.py").write_text(MODULE.replace("nn.Linear(4, size)", "nn.Linear(4, 100)"), encoding="utf-8")
    done = lgbench("train", "copy-mqar", "main_only", *SHORT, "--model", "bad.py:build", "--output", "a")
    assert done.status == 1
    assert "The module returned shape (3, 7, 100). It must map int64 tokens" in " ".join(done.err.split())
    assert not Path("a").exists()


def test_a_module_whose_file_has_changed_does_not_go_on(lgbench: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tensors would fit: only the file tells that the rest of the run would be another model's."""
    take = take_step

    def cut(*arguments: Any, **options: Any) -> object:
        if options["step"] == 3:
            raise KeyboardInterrupt
        return take(*arguments, **options)

    (file := Path("mine.py")).write_text(MODULE, encoding="utf-8")
    command = ["train", "copy-mqar", "main_only", *SHORT, "--model", "mine.py:build", "--output", "a"]
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "take_step", cut)
        stopped = lgbench(*command)
    assert stopped.status == 130
    assert f"Resume from step 2 with:\n  {shlex.join(['lgbench', *command, '--resume'])}\n" in stopped.err
    file.write_text(MODULE.replace("nn.Linear(4, size))", "nn.Linear(4, size), nn.Tanh())"), encoding="utf-8")
    refused = lgbench(*command, "--resume")
    assert refused.status == 1
    assert "'a' holds another run (the file of mine.py:build has changed since)" in " ".join(refused.err.split())
    file.write_text(MODULE, encoding="utf-8")
    command[command.index("mine.py:build")] = f"{file.absolute()}:build"
    assert lgbench(*command, "--resume").status == 0, "it is the same file, however its path is spelled"


def test_reproduce_begins_with_a_verdict(lgbench: Shell) -> None:
    arguments = ["reproduce", "--group", "add-multiply", "--seeds", "1", *SMALL, "--output", "r"]
    done = lgbench(*arguments)
    assert done.status == 0, done.err
    assert "[3/3] add-multiply control seed 0: done" in done.err
    assert "add-multiply control seed 0: evaluating " in done.err
    assert "is finished. So far" not in done.err, "the report follows"
    assert re.search(r"^add-multiply main_only: trained on [\d,]+ tokens, of which [\d,]+ in targets", done.out, re.M)
    assert done.out.startswith("Was transfer seen?\nadd-multiply: too few seeds\n")
    told = done.out
    assert "main_only did not learn reverse_add (0 % up to length 4)" in " ".join(told.split())
    assert {path.name for path in Path("r").iterdir()} == {
        f"add-multiply-{arm}-seed0" for arm in ("main_only", "transfer", "control")
    }
    changed = lgbench(*arguments, "--set", "steps=5")
    assert changed.status == 1
    assert "steps is 4 there and 5 here" in changed.err


def test_an_arm_whose_first_seed_failed_is_told_with_the_next(lgbench: Shell) -> None:
    assert lgbench("train", "copy-mqar", "main_only", *SMALL, "--set", "steps=5", "-o", "r/copy-mqar-main_only-seed0")
    arms = ["--arm", "main_only", "--arm", "control"]
    done = lgbench("reproduce", "--group", "copy-mqar", *arms, "--seeds", "2", *SMALL, "--output", "r")
    assert done.status == 1
    assert "steps is 5 there and 4 here" in done.err
    assert re.findall(r"copy-mqar (\w+): trained on", done.out) == ["control", "main_only"]


def test_reproduce_of_named_seeds(lgbench: Shell) -> None:
    arguments = ["reproduce", "--group", "copy-mqar", "--arm", "main_only", *SMALL, "--output", "r"]
    done = lgbench(*arguments, "--seed", "5,3", "--seed", "3")
    assert done.status == 0, done.err
    assert {path.name for path in Path("r").iterdir()} == {f"copy-mqar-main_only-seed{seed}" for seed in (3, 5)}
    assert done.out.count("trained on") == 1
    reasons = {
        "-1": "must be 0 or more",
        "one": "valid integer",
        "3,": "valid integer",
        str(2**63): f"{2**63 - 1} or less",
    }
    for given, reason in reasons.items():
        refused = lgbench(*arguments, "--seed", given)
        assert refused.status == 1
        told = " ".join(refused.err.split())
        assert f"--seed {given!r}: " in told
        assert reason in told


@pytest.mark.parametrize(
    "command", ["reproduce", "ablate add-carry", "sweep copy-mqar --main-lengths 2 --aux-lengths 4"]
)
@pytest.mark.parametrize("change", [["--set", "steps=9"], ["--model", "mine.py:build"]])
def test_runs_that_are_not_the_presets_need_a_folder(lgbench: Shell, command: str, change: list[str]) -> None:
    done = lgbench(*command.split(), *change)
    assert done.status == 1
    assert "the runs are not the preset's: name their folder with --output" in done.err
    assert not Path("runs").exists()


def test_sweep_and_plot(lgbench: Shell) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["sweep", "copy-mqar", "--main-lengths", "2,4", "--aux-lengths", "4", *SMALL, "--output", "s"]
    swept = lgbench(*arguments)
    assert swept.status == 0, swept.err
    assert "[2/2] main to 4, auxiliaries to 4, seed 0: done" in swept.err
    assert lgbench(*arguments, "--jobs", "2").out == swept.out
    other = lgbench(*arguments, "--model", "mine.py:build")
    assert other.status == 1
    assert "--set layers shapes the reference model only" in other.err
    told = r"main to 4, auxiliaries to 4, seed 0: gap 0\.000; over all lengths string_copy [\d.]+ %, mqar [\d.]+ %"
    assert re.search(told, swept.out), "the main task first"
    assert lgbench("plot", "s", "--kind", "gap", "-o", "gap.svg").status == 0
    unfit = lgbench("plot", "s", "--kind", "training", "-o", "training.svg")
    assert unfit.status == 1
    assert "Left out: s/main4-aux4-seed0, as it was not trained as the suite's arm is" in unfit.err
    assert Path("gap.svg").read_text("utf-8").startswith("<?xml")
    for arguments, sentence in (
        (["s", "-o", "x.svg"], "'s' holds 2 trained models but no evaluation"),
        (["gone", "-o", "x.svg"], "There is no folder 'gone'"),
        (["s", "--kind", "pie", "-o", "x.svg"], "Valid: lengths, training, gap"),
        (["gone", "-o", "x.gif"], "ends in .svg, .png or .pdf"),
    ):
        done = lgbench("plot", *arguments)
        assert done.status == 1
        assert sentence in done.err


def test_the_bundled_checkpoints_are_small_and_do_what_they_show() -> None:
    arms = sorted(path.name for path in TINY.iterdir())
    assert arms == ["control", "main_only", "transfer"]
    assert sum(path.stat().st_size for path in TINY.rglob("*") if path.is_file()) <= 6_000_000
    for arm in arms:
        predictor = load_model(f"tiny:{arm}").predictor
        assert isinstance(predictor, CheckpointPredictor)
        for length, least in ((8, 0.9), (10, 0.5 if arm == "transfer" else 0.0)):
            dev = draw_cell(MINI, "capitalize_reverse", length, split="dev")
            replies = predictor.predict([example.prompt for example in dev], "capitalize_reverse")
            right = sum(reply == example.target for reply, example in zip(replies, dev, strict=True)) / len(dev)
            assert right >= least
            if length == 10 and arm != "transfer":
                assert right <= 0.1
    with pytest.raises(LgbenchError, match="Did you mean 'transfer'"):
        load_model("tiny:transfr")


@pytest.mark.parametrize("arm", ["main_only", "transfer", "control"])
def test_the_committed_results_are_those_of_the_bundled_checkpoints(arm: str) -> None:
    rescored = rescore(ROOT / "lgbench" / "checkpoints" / "results" / arm)
    result = rescored.result
    assert (result.system.model, result.arm, result.group, result.seed) == (f"tiny:{arm}", arm, "capitalize-reverse", 0)
    weights = TINY / arm / "model.safetensors"
    assert result.system.source_sha256 == (hashlib.sha256(weights.read_bytes()).hexdigest(),)
    predictor = load_model(f"tiny:{arm}").predictor
    assert isinstance(predictor, CheckpointPredictor)
    for length in (8, 10, 12, 16):
        examples = draw_cell(MINI, "capitalize_reverse", length)[:32]
        replies = predictor.predict([example.prompt for example in examples], "capitalize_reverse")
        right = [reply == example.target for reply, example in zip(replies, examples, strict=True)]
        assert right == rescored.correct[Cell("capitalize_reverse", length)][:32].tolist()
