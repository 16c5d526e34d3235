"""Successive halving chooses by what is known in distribution, and by nothing else."""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lgbench.data.groups import TRAINED_ARMS
from lgbench.data.suites import load_suite
from lgbench.experiments.base import Run
from lgbench.experiments.code_history import HISTORY
from lgbench.experiments.halving import Rung, Trial, draw
from lgbench.experiments.monitor import Monitor
from lgbench.experiments.tune import TuningStudy
from lgbench.training.record import RECORD, CurvePoint, Machine, TrainingRecord
from lgbench.util.errors import LgbenchError
from lgbench.util.records import write_record
from studies import strings
from studies.addition import Addition
from studies.strings import Strings

MINI = load_suite("mini-v1")
STUDIES = Path(__file__).parents[2] / "studies"
SMALL = ("layers=1", "heads=1", "width=8", "hidden=8", "batch=64")


class Small(TuningStudy):
    domain: ClassVar[str] = "strings"
    trains: ClassVar[tuple[tuple[str, str], ...]] = (
        ("copy-mqar", "main_only"),
        ("copy-mqar", "transfer"),
        ("capitalize-reverse", "transfer"),
    )
    seeds: ClassVar = (200, 201)
    rungs: ClassVar[tuple[Rung, ...]] = (
        Rung(30, seeds=1, keep=3),
        Rung(100, seeds=1, keep=2),
        Rung(100, seeds=2, keep=1),
    )
    trials: ClassVar[tuple[Trial, ...]] = tuple(
        Trial(f"trial{n}", 10 * (n + 1), (*SMALL, f"learning_rate={n + 1}e-3")) for n in range(6)
    )


def made_up(study: TuningStudy, root: Path, chance: Callable[[], float]) -> None:
    """Records of every run that the study plans, round by round, with counts by chance."""
    while _write_round(study, root, chance):
        pass


def _write_round(study: TuningStudy, root: Path, chance: Callable[[], float]) -> int:
    written = 0
    for run in list(study.runs(root, "cpu")):
        settings = run.plan.settings
        old = run.record().curve if (run.folder / RECORD).is_file() else ()
        if old and old[-1].step >= study.last_step(run):
            continue
        steps = range(len(old) * settings.evaluate_every, study.last_step(run), settings.evaluate_every)
        new = [
            CurvePoint(step=step + settings.evaluate_every, loss=1.0, correct=_counts(run, chance)) for step in steps
        ]
        done = new[-1].step
        machine = Machine.current("cpu")
        run.folder.mkdir(parents=True, exist_ok=True)
        record = TrainingRecord(plan=run.plan, machine=machine, parameters=1, steps_done=done, curve=(*old, *new))
        write_record(run.folder / RECORD, record)
        written += 1
    return written


def _counts(run: Run, chance: Callable[[], float]) -> dict[str, dict[int, int]]:
    grid = run.plan.suite_group.grid
    return {part.task: {length: min(64, int(80 * chance())) for length in grid} for part in run.plan.parts}


def halved(study: TuningStudy, root: Path) -> list[list[str]]:
    """The trials of each round, best first: the rule of studies/README.md once more, from the files' bare JSON."""
    trained_to = {"string_copy": 8, "capitalize_reverse": 8, "mqar": 16, "capitalize": 16, "reverse": 16}
    names, rounds = [trial.name for trial in study.trials], []
    for rung in study.rungs:
        scores = {}
        for name in names:
            accuracy, mastered = [], []
            for seed in study.seeds[: rung.seeds]:
                for group, arm in study.trains:
                    record = json.loads((root / name / f"{group}-{arm}-seed{seed}" / "training.json").read_text())
                    steps = record["plan"]["settings"]["steps"]
                    points = [each for each in record["curve"] if each["step"] * 100 <= rung.percent * steps]
                    main = points[-1]["correct"]["string_copy" if group == "copy-mqar" else "capitalize_reverse"]
                    accuracy.append(sum(main[str(length)] for length in (2, 4, 6, 8)) / 256)
                    if arm == "transfer":
                        others = ["mqar"] if group == "copy-mqar" else ["capitalize", "reverse"]
                        good = [
                            each["step"]
                            for each in points
                            if all(each["correct"][task][str(trained_to[task])] >= 57.6 for task in others)
                        ]
                        mastered.append(min([*good, steps]) / steps)
            scores[name] = sum(accuracy) / len(accuracy) - sum(mastered) / len(mastered)
        names = sorted(names, key=lambda name: -round(scores[name], 9))
        rounds.append(names)
        names = names[: rung.keep]
    return rounds


@pytest.mark.parametrize("seed", range(4))
def test_the_rounds_are_those_of_a_second_program(tmp_path: Path, seed: int) -> None:
    study = Small()
    made_up(study, tmp_path, random.Random(seed).random)
    expected = halved(study, tmp_path)
    report = study.report(list(study.runs(tmp_path, "cpu")))
    assert [[each["trial"] for each in one["trials"]] for one in report.record["rounds"]] == expected
    assert report.record["chosen"]["name"] == expected[-1][0]
    assert study.choice(tmp_path) == next(trial for trial in study.trials if trial.name == expected[-1][0])


def test_only_what_is_known_in_distribution_counts(tmp_path: Path) -> None:
    study, rng = Small(), random.Random(7)
    made_up(study, tmp_path, rng.random)
    before = study.report(list(study.runs(tmp_path, "cpu"))).record
    changed = 0
    for path in tmp_path.rglob(RECORD):
        record = json.loads(path.read_text())
        main, *others = record["plan"]["parts"]
        for point in record["curve"]:
            point["loss"] = rng.random()
            for task, counts in point["correct"].items():
                for length in counts:
                    sees_main = task == main["task"] and int(length) <= main["max_length"]
                    sees_aux = any((task, int(length)) == (each["task"], each["max_length"]) for each in others)
                    if not (sees_main or sees_aux):
                        counts[length] = rng.randrange(65)
                        changed += 1
        path.write_text(json.dumps(record))
    assert changed > 1000
    assert study.report(list(study.runs(tmp_path, "cpu"))).record == before


def test_what_a_run_prints_does_not_show_the_transfer_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    study = Small()
    run = next(run for run in study.runs(tmp_path, "cpu") if run.plan.arm == "transfer")
    study.finish(run, "cpu", Monitor(run.name))
    shown = capsys.readouterr().err
    assert "string_copy in-distribution 0.0 %, mqar 0/64 at length 16" in shown
    assert "transfer 0" not in shown
    assert "beyond" not in shown


def test_a_run_stops_where_its_round_ends_and_goes_on_from_there(tmp_path: Path) -> None:
    study = Small()
    first = next(iter(study.runs(tmp_path, "cpu")))
    study.finish(first, "cpu", Monitor(first.name, quiet=True))
    assert first.record().steps_done == 3
    study.finish(first, "cpu", Monitor(first.name, quiet=True))
    assert first.record().steps_done == 3
    on = first._replace(extra=first.extra._replace(until=10))
    study.finish(on, "cpu", Monitor(on.name, quiet=True))
    whole = first._replace(folder=tmp_path / "whole", extra=on.extra)
    study.finish(whole, "cpu", Monitor(whole.name, quiet=True))
    assert on.record().finished
    assert on.record().curve == whole.record().curve


class Diverging(Small):
    trials: ClassVar = (
        Trial("calm", 10, SMALL),
        Trial("wild", 10, (*SMALL, "learning_rate=1e30", "gradient_clip=1e30")),
    )
    rungs: ClassVar = (Rung(100, seeds=1, keep=1),)
    trains: ClassVar = (("copy-mqar", "main_only"), ("copy-mqar", "transfer"))


def test_a_run_that_diverges_counts(tmp_path: Path) -> None:
    study = Diverging()
    for run in study.runs(tmp_path, "cpu"):
        study.finish(run, "cpu", Monitor(run.name, quiet=True))
    report = study.report(list(study.runs(tmp_path, "cpu")))
    (last,) = report.record["rounds"]
    assert {each["trial"]: each["diverged"] for each in last["trials"]} == {"calm": 0, "wild": 2}
    assert report.record["chosen"]["name"] == "calm"


def test_changed_code_and_another_machine_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    study = Diverging()
    _, run = [run for run in study.runs(tmp_path, "cpu") if run.extra.trial.name == "calm"]
    study.finish(run._replace(extra=run.extra._replace(until=2)), "cpu", Monitor(run.name, quiet=True))
    monkeypatch.setattr("lgbench.experiments.code_history.code_sha256", lambda: "0" * 64)
    study.finish(run, "cpu", Monitor("the run"))
    assert "the run: from step 2 on it is trained by other code than before" in capsys.readouterr().err
    assert len(json.loads((run.folder / HISTORY).read_text())["pieces"]) == 2
    lines = [part for part in study.report([run]).parts if isinstance(part, str)]
    assert "The runs were trained by 2 versions of the code." in lines
    assert "In 1 of 1 runs one of these changed on the way." in lines


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"seeds": (0, 200)}, "Seed 0 is for reported runs"),
        ({"trains": (("copy-mqar", "transfer"),)}, "main_only and transfer alike"),
        ({"trials": (Trial("a", 10, ()), Trial("a", 20, ()))}, "one name"),
        ({"trials": (Trial("a", 15, ()),)}, "a has 15 steps: give a multiple of 10"),
        ({"rungs": (Rung(100, 1, 2), Rung(30, 1, 1))}, "must rise"),
        ({"rungs": (Rung(35, 1, 2), Rung(100, 1, 1))}, "in steps of 10"),
        ({"rungs": (Rung(100, 3, 1),)}, "more seeds than the study's 2"),
        ({"trials": (Trial("a", 10, ("heads=7",)),)}, "does not divide into 7 heads"),
        ({"trials": (Trial("a", 10, ("learning_rat=1",)),)}, "Did you mean 'learning_rate'?"),
    ],
)
def test_a_study_that_breaks_a_rule_is_refused(tmp_path: Path, attributes: Mapping[str, Any], message: str) -> None:
    study = type("Broken", (Small,), dict(attributes))()
    with pytest.raises(LgbenchError, match=message.replace("?", r"\?")):
        list(study.runs(tmp_path, "cpu"))


def test_the_drawn_trials_are_those_that_were_drawn() -> None:
    shown = {trial.name: trial.changes for trial in Strings.trials if trial.name.startswith("drawn")}
    assert len(shown) >= 5
    assert shown == {f"drawn-{number}": draw("strings", number, strings.CHOICES) for number in range(len(shown))}


def test_the_study_of_addition_trains_every_arm_of_a_trial(tmp_path: Path) -> None:
    runs = list(Addition().runs(tmp_path, "cpu"))
    assert len(runs) == len(Addition.trials) * len(Addition.trains)
    assert {run.plan.arm for run in runs if run.plan.group == "add-carry"} == set(TRAINED_ARMS) - {"direct"}
    assert {run.plan.seed for run in runs} == {203}
    assert all(run.plan.settings.packed for run in runs)


def test_the_page_says_what_the_records_of_strings_give() -> None:
    study, root = Strings(), STUDIES / "records" / "strings"
    page = (STUDIES / "README.md").read_text("utf-8")
    report = study.report(list(study.runs(root, "cpu")))
    assert f"12 trials, {len(list(root.rglob(RECORD)))} runs, none diverged" in page
    shown = {
        name: (float(accuracy), float(mastered))
        for name, accuracy, mastered in re.findall(
            r"^\| \**(drawn-\d)\** \|.*\| ([\d.]+) % \| (\d+) %(?: of the steps)? \|$", page, flags=re.MULTILINE
        )
    }
    last: dict[str, Any] = {each["trial"]: each for one in report.record["rounds"][1:] for each in one["trials"]}
    assert shown == {
        name: (round(100 * each["in_distribution"], 1), math.floor(100 * each["mastered"] + 0.5))
        for name, each in last.items()
    }
    assert report.record["chosen"]["name"] == "drawn-7"
    assert report.record["code_changes"] == []
