"""`lgbench retrain`: a recorded run trained again, and what is said where it does not come out the same."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch  # after the skip

from lgbench.training import trainer
from lgbench.training.record import read_training_record
from lgbench.training.trainer import train
from tests.shell import Shell
from tests.tiny_training import tiny_plan

MODULE = """\
from torch import nn

def build(size):
    return nn.Sequential(nn.Embedding(size, 4), nn.Linear(4, size))

def other(size):
    return build(size)
"""
UNFINISHED = {"steps_done": 10, "tokens": 11_958, "target_tokens": 5_339}
EQUAL = "All 3 points of the curve are equal to the recorded ones, to the last digit.\n"


@pytest.fixture(name="trained", scope="module")
def _trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, with points at steps 5, 10 and 12."""
    folder = tmp_path_factory.mktemp("trained") / "first"
    train(tiny_plan(), folder)
    return folder


@pytest.fixture(name="other", scope="module")
def _other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of another seed."""
    folder = tmp_path_factory.mktemp("trained") / "other"
    train(tiny_plan(seed=1), folder)
    return folder


@pytest.fixture(name="recorded")
def _recorded(trained: Path, tmp_path: Path) -> Path:
    """A folder with nothing but the run's record, as in docs/runs."""
    (folder := tmp_path / "records" / "first").mkdir(parents=True)
    shutil.copy(trained / "training.json", folder)
    return folder


def alter(folder: Path, change: Callable[[Any], object]) -> None:
    file = folder / "training.json"
    record = json.loads(file.read_text("utf-8"))
    change(record)
    file.write_text(json.dumps(record), encoding="utf-8")


def next_loss(record: Any, number: int) -> None:
    point = record["curve"][number]
    point["loss"] = math.nextafter(point["loss"], math.inf)


def one_less(record: Any, number: int) -> None:
    counts = record["curve"][number]["correct"]["capitalize"]
    counts["4"] += -1 if counts["4"] else 1


def no_training(*_: object, **__: object) -> None:
    raise AssertionError("a step was taken")


def test_an_equal_run_is_said_to_be_equal(lgbench: Shell, recorded: Path, trained: Path) -> None:
    before = (recorded / "training.json").read_bytes()
    done = lgbench("retrain", recorded)
    assert (done.status, done.out) == (0, EQUAL), done.err
    lines = [line for line in done.err.splitlines() if line.startswith("first, step ")]
    assert [line.split(":")[0] for line in lines] == ["first, step 5/12", "first, step 10/12", "first, step 12/12"]
    assert all("; capitalize_reverse in-distribution " in line and line.endswith("; as recorded") for line in lines)
    assert "another machine" not in done.err
    again = Path("runs/retrain/first")
    assert (again / "checkpoint" / "model.safetensors").read_bytes() == (
        trained / "checkpoint" / "model.safetensors"
    ).read_bytes()
    assert [path.name for path in recorded.iterdir()] == ["training.json"]
    assert (recorded / "training.json").read_bytes() == before


def test_the_file_itself_names_the_run(lgbench: Shell, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(recorded)
    assert lgbench("retrain", "training.json", "--quiet", "--output", "../again") == (0, EQUAL, "")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_loss_that_is_off_by_the_last_digit_is_told(lgbench: Shell, recorded: Path, number: int) -> None:
    loss = read_training_record(recorded).curve[number].loss
    alter(recorded, lambda record: next_loss(record, number))
    done = lgbench("retrain", recorded)
    assert done.status == 1
    step = (5, 10, 12)[number]
    told = f"loss {math.nextafter(loss, math.inf)!r} recorded, {loss!r} here"
    first, last, reason = done.out.splitlines()
    assert done.err.endswith("The run is in runs/retrain/first.\nWriting the report ...\n")
    assert first == f"1 of 3 points of the curve differs from the recorded one, at step {step}: {told}."
    assert last.startswith("The last point, at step 12, recorded: capitalize_reverse in-distribution ")
    assert reason.startswith("What the record tells of its machine is so here too. ")
    lines = [line for line in done.err.splitlines() if line.startswith("first, step ")]
    assert [line.endswith("; as recorded") for line in lines] == [place != number for place in range(3)]
    assert lines[number].endswith(f"; not as recorded: {told}")
    assert "Traceback" not in done.err


def test_a_count_that_is_off_by_one_is_told(lgbench: Shell, recorded: Path) -> None:
    count = read_training_record(recorded).curve[1].correct["capitalize"][4]
    for number in (1, 2):
        alter(recorded, partial(one_less, number=number))
    alter(recorded, lambda record: record["machine"].update(torch="1.2\x1b.3", threads=64))
    done = lgbench("retrain", recorded)
    assert done.status == 1
    was = count - 1 if count else 1
    told = f"capitalize at length 4: {was} of 64 recorded, {count} here."
    first, _, reason = done.out.splitlines()
    assert first == f"2 of 3 points of the curve differ from the recorded ones, first at step 10: {told}"
    assert "the record is of another machine (torch 1.2\\x1b.3 recorded, " in reason
    assert "threads 64 recorded, 1 here" in reason
    assert "equal only on the same kind of machine, with the same PyTorch and as many threads" in reason
    assert "as many threads. Set OMP_NUM_THREADS=64 and start anew." in done.err.split("step 5/12")[0], "at once"


@pytest.mark.parametrize("count", ["parameters", "tokens", "target_tokens"])
def test_counts_that_no_machine_rounds_must_be_equal(lgbench: Shell, recorded: Path, count: str) -> None:
    alter(recorded, lambda record: record.update({count: 5}))
    done = lgbench("retrain", recorded)
    assert done.status == 1
    right = getattr(read_training_record(Path("runs/retrain/first")), count)
    told = f"5 {count.replace('_', ' ')} recorded, {right:,} here"
    assert done.out == f"{told}: the recorded run is of another model or of other data.\n"


def test_the_threads_are_those_of_the_record(lgbench: Shell, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lgbench.training.retraining.cores", lambda: 2)
    threads = torch.get_num_threads()
    alter(recorded, lambda record: record["machine"].update(threads=2))
    assert "OMP_NUM_THREADS" not in lgbench("retrain", recorded, "--until", "5").err
    assert read_training_record(Path("runs/retrain/first")).machine.threads == 2
    assert torch.get_num_threads() == threads, "as before"


def test_a_run_may_be_compared_in_pieces(lgbench: Shell, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning rate stays that of the whole plan, or the points would not be equal."""
    done = lgbench("retrain", recorded, "--until", "3")
    assert (done.status, done.out) == (
        0, "The one point up to step 5 of 12 is equal to the recorded one, to the last digit.\n",
    )  # fmt: skip
    assert read_training_record(Path("runs/retrain/first")).steps_done == 5
    done = lgbench("retrain", recorded, "--until", "10")
    assert done.out == "All 2 points up to step 10 of 12 are equal to the recorded ones, to the last digit.\n"
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "take_step", no_training)
        assert "The one point up to step 5" in lgbench("retrain", recorded, "--until", "5").out
    assert lgbench("retrain", recorded, "--until", "999").out == EQUAL
    monkeypatch.setattr(trainer, "take_step", no_training)
    done = lgbench("retrain", recorded)
    assert (done.status, done.out) == (0, EQUAL)
    assert "Nothing is left to train: the run in 'runs/retrain/first' is compared as it is." in done.err
    alter(recorded, lambda record: next_loss(record, 2))
    assert lgbench("retrain", recorded).status == 1
    assert lgbench("retrain", recorded, "--until", "10").status == 0


def test_a_run_that_was_killed_before_its_checkpoint_is_completed(
    lgbench: Shell, recorded: Path, trained: Path
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "save_checkpoint", killed)
        stopped = lgbench("retrain", recorded)
    assert (stopped.status, stopped.out) == (130, "")
    assert "Run the same command again to resume from the last saved steps." in stopped.err
    assert lgbench("retrain", recorded).out == EQUAL
    left = sorted(path.name for path in Path("runs/retrain/first").rglob("*"))
    assert left == sorted(path.name for path in trained.rglob("*"))


def test_an_unfinished_record_is_compared_as_far_as_it_goes(lgbench: Shell, recorded: Path) -> None:
    alter(recorded, lambda record: record.update(UNFINISHED, curve=record["curve"][:2]))
    done = lgbench("retrain", recorded)
    assert done.out == "All 2 points up to step 10 of 12 are equal to the recorded ones, to the last digit.\n"
    assert read_training_record(Path("runs/retrain/first")).steps_done == 10


def test_lengths_that_are_not_the_arms_are_trained_and_told(lgbench: Shell, tmp_path: Path) -> None:
    plan = tiny_plan()
    main, *others = plan.parts
    shorter = plan.model_copy(update={"parts": (main.model_copy(update={"max_length": 4}), *others)})
    train(shorter, tmp_path / "swept")
    done = lgbench("retrain", "swept")
    told = "1/3 capitalize_reverse to 4, 1/3 capitalize to 16, 1/3 reverse to 16"
    reservation = f"The run trained {told}, which is not arm transfer: it is not a result of the suite.\n"
    assert (done.status, done.out) == (0, EQUAL + reservation)
    assert reservation in done.err.split("step 5/12")[0], "at once"
    assert lgbench("retrain", "swept", "--quiet") == (0, EQUAL + reservation, "")


def change_part(**change: object) -> Callable[[Any], object]:
    return lambda record: record["plan"]["parts"][1].update(change)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (change_part(task_version=0), "trained version 0 of capitalize, whose examples this lgbench does not draw"),
        (change_part(share="1/4"), "The shares of capitalize_reverse, capitalize, reverse add up to 11/12."),
        (
            change_part(task="reverse_add"),
            "parts must be of tasks of capitalize-reverse, each once and capitalize_reverse",
        ),
        (change_part(task="reverse"), "A list of a mixture repeats a task: capitalize_reverse, reverse, reverse."),
        (lambda record: record["plan"]["parts"].reverse(), "each once and capitalize_reverse first"),
        (change_part(max_length=0), "capitalize has no prompts of length 0"),
        (lambda record: record.update(curve=[], steps_done=0), "has no point of a curve yet"),
        (lambda record: record["curve"].pop(1), "the curve is not that of its plan"),
        (lambda record: record["curve"].append(record["curve"][-1]), "the curve is not that of its plan"),
        (lambda record: record.update(steps_done=10), "the curve is not that of its plan"),
        (lambda record: record["plan"].update(model="hf:some/model"), "Train it again with `lgbench finetune`"),
        (lambda record: record["plan"].update(suite="mini-v0"), "'mini-v0' is not a suite"),
        (lambda record: record.update(curve=3), "curve: "),
    ],
)
def test_a_record_that_cannot_be_trained_again_is_refused(
    lgbench: Shell, recorded: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], object], sentence: str
) -> None:
    monkeypatch.setattr(trainer, "take_step", no_training)
    alter(recorded, change)
    done = lgbench("retrain", recorded)
    assert (done.status, done.out) == (1, "")
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["gone"], "There is no folder 'gone'."),
        (["records"], "it has no training.json"),
        (["note.txt"], "'note.txt' is a file, but no training.json."),
        (["records/first", "--output", "records/../records"], "of the recorded run itself. Choose"),
        (["records/first/training.json", "-o", "link"], "'link' is a link, and lgbench writes through none"),
        (["records/first", "--output", "taken"], "'taken/first' holds another run (seed is 1 there and 0 here)"),
        (["records/first", "gone"], "There is no folder 'gone'."),
        (["records/first", "--model", "mine.py:build"], "of the reference model: leave --model out"),
        (["records/first", "--device", "tpu"], "Valid: auto, cpu, cuda"),
    ],
)
def test_retrain_refuses_what_does_not_fit(
    lgbench: Shell, recorded: Path, other: Path, arguments: list[str], sentence: str
) -> None:
    before = (recorded / "training.json").read_bytes()
    Path("note.txt").touch()
    Path("link").symlink_to(recorded.parent)
    shutil.copytree(other, "taken/first")
    done = lgbench("retrain", *arguments)
    assert (done.status, done.out) == (1, "")
    assert sentence in " ".join(done.err.split())
    assert "Traceback" not in done.err
    assert (recorded / "training.json").read_bytes() == before
    assert [path.name for path in recorded.iterdir()] == ["training.json"]


def test_a_users_module_is_run_only_as_the_user_names_it(lgbench: Shell) -> None:
    (file := Path("mine.py")).write_text(MODULE, encoding="utf-8")
    short = ["--set", "steps=4", "--set", "evaluate_every=2", "--set", "batch=64", "--quiet"]
    assert lgbench("train", "copy-mqar", "main_only", *short, "--model", "mine.py:build", "--output", "a").status == 0
    refused = lgbench("retrain", "a")
    assert refused.status == 1
    assert "runs no code because a record names it: name it yourself with --model" in refused.err
    file.rename("moved.py")
    done = lgbench("retrain", "a", "--model", "moved.py:build")
    assert (done.status, done.out.split(" are equal")[0]) == (0, "All 2 points of the curve"), done.err
    Path("changed.py").write_text(f"{MODULE}\nraise RuntimeError('it ran')\n", encoding="utf-8")
    for given, sentence in (
        ("changed.py:build", "the SHA-256 of its file is "),
        ("moved.py:other", "is not the module that was trained: model is 'build' there and 'other' here"),
        ("some.package:build", "the SHA-256 of its file is not known, recorded is "),
        ("gone.py:build", "There is no file 'gone.py'"),
    ):
        refused = lgbench("retrain", "a", "--model", given, "--output", "b")
        assert refused.status == 1
        assert sentence in refused.err
        assert "it ran" not in refused.err
        assert not Path("b").exists()
    alter(Path("a"), lambda record: record["plan"].update(model="some.package:build", model_sha256=None))
    done = lgbench("retrain", "a", "--model", "moved.py:build", "--output", "b")
    assert done.status == 0
    assert "The record has no hash of its module 'some.package:build'" in done.err


def test_several_runs_are_checked_at_once(lgbench: Shell, recorded: Path, other: Path) -> None:
    shutil.copytree(other, "records/other", ignore=shutil.ignore_patterns("checkpoint"))
    alter(Path("records/other"), lambda record: next_loss(record, 1))
    planned = lgbench("retrain", "records/first", "records/other", "--until", "3", "--dry-run")
    assert planned.status == 0, planned.err
    assert planned.out.count(" 0/5 ") == 2
    assert not Path("runs").exists()
    done = lgbench("retrain", "records/first", "records/other/training.json", "--jobs", "2", "--json")
    assert done.status == 1
    printed = json.loads(done.out)
    assert sorted(run["state"] for run in printed["runs"]) == ["finished", "finished"]
    found = {each["run"]: (each["equal"], each["differing_steps"]) for each in printed["report"]}
    assert found == {"first": (True, []), "other": (False, [10])}
    assert not any(each["machine_differences"] for each in printed["report"])
    lines = lgbench("retrain", "records/first", "records/other").out.splitlines()
    assert lines[0] == f"first: {EQUAL.strip()}"
    assert lines[1].startswith("other: 1 of 3 points of the curve differs from the recorded one, at step 10: loss ")
    assert lines[-1] == "1 of 2 runs came out as recorded."
    shutil.copytree("records/other", "elsewhere/first")
    assert lgbench("retrain", "records/first", "elsewhere/first", "--until", "5", "--output", "b").status == 0
    assert sorted(path.name for path in Path("b").iterdir()) == ["elsewhere-first", "records-first"]


def test_options_of_other_commands_are_refused(lgbench: Shell, recorded: Path) -> None:
    assert "No such option: --resume" in lgbench("retrain", recorded, "--resume").err
