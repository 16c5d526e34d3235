"""`lgbench.train`, `reproduce` and `plot`: the commands from Python."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

torch = pytest.importorskip("torch")

from torch import nn

import lgbench
from lgbench.experiments.reproduce import Reproduce
from lgbench.methods.positions import Positions
from lgbench.python.training import model_name
from lgbench.training.hooks import KeepPoints
from lgbench.training.method import Method
from lgbench.training.record import read_training_record
from lgbench.training.settings import DEFAULT_PRESET
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError, UnknownNameError
from tests.tiny_training import STRINGS, TINY

SMALL = dict(change.split("=") for change in TINY)
OWN = {"batch": 8, "steps": 12, "evaluate_every": 5, "precision": "float32"}
ROOT = Path(__file__).parents[2]


class Faster(Method):
    """A method of the caller's."""

    factor: float = 2.0
    note: str | None = None

    def planned(self, plan: RunSpec) -> RunSpec:
        return plan.with_settings(learning_rate=plan.settings.learning_rate * self.factor)


def build(size: int) -> nn.Module:
    return nn.Sequential(nn.Embedding(size, 8), nn.Linear(8, size))


@pytest.mark.slow
def test_train_is_the_command(tmp_path: Path) -> None:
    steps: list[int] = []
    record = lgbench.train(
        STRINGS.name, "transfer", settings=SMALL, output=tmp_path / "ours", on_progress=lambda at: steps.append(at.step)
    )
    command = ["train", STRINGS.name, "transfer", "-q", "-o", "theirs", *(f"--set={change}" for change in TINY)]
    subprocess.run([sys.executable, "-m", "lgbench", *command], cwd=tmp_path, check=True)
    theirs = read_training_record(tmp_path / "theirs")
    assert record.finished
    assert record.to_frame()["run"].unique().tolist() == [str(tmp_path / "ours")]
    assert (record.plan, record.curve) == (theirs.plan, theirs.curve)
    assert record.to_frame()["step"].unique().tolist() == [5, 10, 12] == sorted(set(steps) & {5, 10, 12})
    assert lgbench.train(STRINGS.name, "transfer", settings=SMALL, output=tmp_path / "ours", resume=True) == record


def test_a_function_of_the_caller_is_trained_and_its_checkpoint_evaluated(tmp_path: Path) -> None:
    record = lgbench.train("copy-mqar", "main_only", model=build, settings=OWN, output=tmp_path)
    name = f"{__name__}:build"
    assert record.plan.model == name
    model = lgbench.load_model(tmp_path / "checkpoint", {"build": name})
    result = lgbench.evaluate(model, arm="main_only", group="copy-mqar", limit=2)
    assert (result.seed, result.system.parameters) == (0, record.parameters)


@pytest.mark.parametrize("unnamed", [lambda size: build(size), nn.Linear(1, 1), type("Gone", (), {})])
def test_what_could_not_be_found_again_is_refused(unnamed: object) -> None:
    with pytest.raises(LgbenchError, match=r"cannot be found again by its name.*'my_module\.py:build'"):
        lgbench.train("copy-mqar", "transfer", model=unnamed)  # type: ignore[arg-type]
    assert model_name(build) == f"{__name__}:build"
    assert model_name("x.py:build") == "x.py:build"


def test_bad_arguments_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match=r"'step' is not a setting\. Did you mean 'steps'"):
        lgbench.train("copy-mqar", "transfer", settings={"step": 3}, output=tmp_path)
    with pytest.raises(UnknownNameError, match="Did you mean 'transfer'"):
        lgbench.train("copy-mqar", "tranfer", output=tmp_path)
    with pytest.raises(LgbenchError, match="name their folder by output"):
        lgbench.reproduce("copy-mqar", settings=OWN)
    for wrong in ({"jobs": 0}, {"seeds": 0}, {"seeds": ()}):
        with pytest.raises(LgbenchError, match="must each be at least 1"):
            lgbench.reproduce("copy-mqar", output=tmp_path, **wrong)


@pytest.mark.slow
def test_reproduce_gives_the_results_of_the_runs_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"

    def again(progress: bool | None = None) -> lgbench.Results:
        arms = ["main_only", "transfer"]
        return lgbench.reproduce(
            "add-multiply", arms=arms, seeds=[0, 2], model=build, settings=OWN, output=folder, progress=progress
        )

    results = again()
    assert capsys.readouterr().err == ""
    assert [(each.arm, each.seed) for each in results] == [
        ("main_only", 0),
        ("transfer", 0),
        ("main_only", 2),
        ("transfer", 2),
    ]
    assert results.to_frame("runs")["system"].tolist() == ["mine"] * 4
    assert list(again(progress=True)) == list(results)
    assert "48/48" in capsys.readouterr().err
    listed = {each.folder for each in lgbench.load_results(folder)}
    assert listed == {each.folder for each in results}
    planned = Reproduce(group=("add-multiply",), arm=("main_only", "transfer"), seed=(0, 2)).runs(folder, "cpu")
    assert {run.folder / "result" for run in planned} == listed
    records = lgbench.load_records(folder)
    assert records.to_frame()["seed"].unique().tolist() == [0, 2]
    assert records.to_frame()["run"].unique().tolist() == [str(record.folder) for record in records]
    assert repr(records) == "<4 training records: add-multiply>"


@pytest.mark.slow
def test_runs_that_fail_are_told_after_the_others(tmp_path: Path) -> None:
    taken = tmp_path / "copy-mqar-main_only-seed0"
    lgbench.train("copy-mqar", "main_only", settings=SMALL, output=taken)
    with pytest.raises(LgbenchError, match=r"1 of 2 runs failed:\ncopy-mqar main_only seed 0: .*another run"):
        lgbench.reproduce(
            "copy-mqar", arms=["main_only", "transfer"], seeds=1, model=build, settings=OWN, output=tmp_path
        )
    assert (tmp_path / "copy-mqar-transfer-seed0" / "result" / "result.json").exists()


def test_a_method_is_a_name_a_class_or_an_instance(tmp_path: Path) -> None:
    def planned(folder: str, **given: Any) -> RunSpec:
        return lgbench.train("copy-mqar", "main_only", settings=SMALL, output=tmp_path / folder, **given).plan

    own = planned("class", method=Faster, method_options={"factor": 3})
    assert own.method is not None
    assert (own.method.name, own.method.options) == (f"{__name__}:Faster", {"factor": "3.0"})
    assert planned("instance", method=Faster(factor=3)) == own
    assert own.settings.learning_rate == 3 * planned("plain").settings.learning_rate
    by_name = planned("name", method="positions", method_options={"encoding": "alibi"})
    assert by_name == planned("of ours", method=Positions(encoding="alibi"))
    results = lgbench.reproduce(
        "copy-mqar", arms="main_only", seeds=1, method=Faster(factor=3), settings=SMALL, output=tmp_path / "runs"
    )
    assert len(results) == 1
    assert lgbench.load_records(tmp_path / "runs")[0].plan == own


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"method": 3}, "method=3 is not a method. Give a name of `lgbench methods`"),
        ({"method": int}, "method=<class 'int'> is not a method"),
        ({"method": "positions encoding=alibi"}, "Did you mean 'positions'"),
        ({"method": Faster(), "method_options": {"factor": 3}}, "an instance of Faster, which has its options already"),
        ({"method": Faster, "method_options": {"factr": 3}}, "Did you mean 'factor'"),
        ({"method": "positions", "method_options": "range=1"}, "method_options must be a dictionary .*is of type str"),
        ({"settings": ["steps=3"]}, r"settings must be a dictionary .*settings=\{'name': value\}; .*is of type list"),
        ({"model": build, "model_options": ["width=3"]}, "model_options must be a dictionary"),
        ({"hooks": KeepPoints()}, r"hooks must be a list of hooks, as in hooks=\[MyHook\(\)\]"),
    ],
)
def test_what_is_of_the_wrong_type_is_refused_in_a_sentence(given: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match=said):
        lgbench.train("copy-mqar", "main_only", output=tmp_path / "run", **given)
    if "hooks" not in given:
        with pytest.raises(LgbenchError, match=said):
            lgbench.reproduce("copy-mqar", output=tmp_path / "run", **given)
    assert not (tmp_path / "run").exists()


def test_a_class_that_cannot_be_found_again_is_refused(tmp_path: Path) -> None:
    class Local(Faster):
        pass

    for given in (Local, Local()):
        with pytest.raises(
            LgbenchError, match=r"Define the class at the top .* with class, or name it as in 'my_module"
        ):
            lgbench.train("copy-mqar", "main_only", method=given, output=tmp_path / "run")


@pytest.mark.slow
def test_pictures_are_shown_and_saved(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    results = lgbench.load_results(*sorted((ROOT / "submissions" / "reference-nope").glob("*copy-mqar-*seed0")))
    picture = lgbench.plot(results)
    assert ET.fromstring(picture._repr_svg_()).tag.endswith("svg")
    assert len(repr(picture)) < 200
    picture.save(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    records = lgbench.load_records(*sorted((ROOT / "docs" / "runs" / "reference-nope").glob("*copy-mqar-*seed0")))
    assert lgbench.plot(records[0])._repr_svg_() != picture._repr_svg_()
    with pytest.raises(LgbenchError, match="There is nothing to draw"):
        lgbench.plot(lgbench.Results([]))
    with pytest.raises(LgbenchError, match=r"needs runs whose method measured something"):
        lgbench.plot(records, kind="measures")
    with pytest.raises(LgbenchError, match=r"of kind 'training' is of records"):
        lgbench.plot(results, kind="training")
    with pytest.raises(UnknownNameError, match="Did you mean 'lengths'"):
        lgbench.plot(results, kind="length")  # type: ignore[arg-type]
    with pytest.raises(LgbenchError, match="ends in"):
        picture.save(tmp_path / "x.bmp")


def test_a_record_says_in_a_line_what_it_is_of_and_has_no_frame_before_its_first_point(tmp_path: Path) -> None:
    record = lgbench.train("copy-mqar", "main_only", settings=SMALL, output=tmp_path)
    assert repr(record) == (
        "TrainingRecord(suite='mini-v1', group='copy-mqar', arm='main_only', seed=0, model='reference', steps_done=12, "
        "steps=12, points=3)"
    )
    begun = record.model_copy(update={"curve": (), "steps_done": 3})
    with pytest.raises(LgbenchError, match="has no point of its curve yet: the first is at step 5"):
        begun.to_frame()


def test_defaults_are_those_of_the_commands() -> None:
    assert inspect.signature(lgbench.train).parameters["preset"].default == DEFAULT_PRESET
    ours, theirs = inspect.signature(lgbench.reproduce).parameters, Reproduce()
    assert {name: ours[name].default for name in ("suite", "preset", "seeds", "model")} == {
        name: getattr(theirs, name) for name in ("suite", "preset", "seeds", "model")
    }
