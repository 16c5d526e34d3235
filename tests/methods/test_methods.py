"""Methods as values: named, validated, recorded, resumed, trained again, sent to executors; and a user's own."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from torch import Tensor

from lgbench.methods.registry import METHODS, choose_method, find_method, method_of
from lgbench.models.checkpoint import load_module
from lgbench.training.batching import Batch
from lgbench.training.hooks import Hook, KeepPoints
from lgbench.training.method import ChosenMethod, Method
from lgbench.training.modules import planned_build
from lgbench.training.planned import PlannedMethod
from lgbench.training.record import CurvePoint, TrainingRecord, read_training_record
from lgbench.training.spec import Recipe, RunSpec, difference
from lgbench.training.trainer import Training, train
from lgbench.util.errors import LgbenchError
from tests.cli.test_training_commands import SMALL as SHAPE
from tests.methods.method_runs import assert_neutral, assert_resumes, assert_same_weights, method_plan, trained
from tests.shell import Shell
from tests.tiny_training import MINI, TINY

ROOT = Path(__file__).parents[2]
SMALL = [*SHAPE, "--set", "learning_rate=1e-3"]
OWN = '''
from typing import ClassVar
from pydantic import Field
from lgbench.training.hooks import Hook
from lgbench.training.method import Method

class Hotter(Method):
    """Trains at a higher rate.

    Made up for a test.
    """

    factor: float = Field(default=2.0, gt=0, description="Of the learning rate.")

    def planned(self, plan):
        return plan.with_settings(learning_rate=plan.settings.learning_rate * self.factor)

class NoMethod:
    pass
'''


@pytest.fixture(name="lgbench")
def lgbench_with_files(lgbench: Shell, short_replies: None) -> Shell:
    Path("own.py").write_text(OWN, encoding="utf-8")
    return lgbench


def plan_of(folder: str) -> Any:
    return json.loads((Path(folder) / "training.json").read_text("utf-8"))["plan"]


SOON = {
    "ternary": (),
    "positions": ("encoding=rope", "range=256"),
    "state-space": ("layers=1", "heads=2", "state=4"),
    "procedural": ("rule=set", "steps=2", "batch=4", "length=4"),
    "self-improvement": ("rounds=1", "questions=8", "round_steps=2", "round_decay=1", "labels=true"),
    "rnb": ("round_steps=5",),
    "shares": ("main=1/2",),
}
"""Options with which each method is done in a moment."""


class Remembering(Hook):
    """Adds noise from tensors of its own to the weights, counts, and measures."""

    def __init__(self, stop: int | None = None) -> None:
        self._noise = torch.zeros(())
        self._stop = stop

    def before_step(self, training: Training, batch: Batch) -> None:
        assert sum(len(chunk.inputs) for chunk in batch.chunks) == training.plan.settings.batch
        self._noise = self._noise * 1.5 + batch.tokens

    def step(self, training: Training, loss: Tensor) -> None:
        with torch.no_grad():
            next(training.module.parameters()).add_(1e-6 * self._noise)
        training.count_extra(steps=1, tokens=7)
        training.measure({"noise": float(self._noise)})
        if training.step == self._stop:
            training.stop("asked to")
            self._stop = None

    def tensors(self) -> dict[str, Tensor]:
        return {"noise": self._noise}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._noise = tensors["noise"].clone()


class Noisy(Method):
    """Adds noise. Made up for a test."""

    def hooks(self, plan: RunSpec) -> list[Hook]:
        return [Remembering()]


def noisy_plan() -> RunSpec:
    chosen = ChosenMethod(PlannedMethod(name="tests.methods.test_methods:Noisy", division="closed"), Noisy())
    return Recipe(MINI, changes=[*TINY, "batch=64", "steps=13", "evaluate_every=9"], method=chosen).plan(
        "capitalize-reverse", "transfer", 0
    )


@pytest.mark.parametrize("name", METHODS)
def test_a_method_explains_itself_and_its_options(name: str, lgbench: Shell) -> None:
    method = METHODS[name]
    first, blank, *rest = method.definition().splitlines()
    assert first.endswith(".")
    assert not blank
    assert rest
    assert "arXiv" in method.definition() or "(20" in method.definition(), "it names its source"
    assert all(text for _, text in method.described_options())
    done = lgbench("methods", "show", name)
    assert done.status == 0
    assert done.out.startswith(f"{name}, division {method.division}\n")
    assert all(f"  {option}=" in done.out for option in method.model_fields)
    assert f"\n{name} " in lgbench("methods").out.replace("\n ", "\n")


@pytest.mark.parametrize("name", METHODS)
def test_its_options_come_back_from_a_record(name: str) -> None:
    chosen = choose_method(name)
    assert chosen is not None
    assert METHODS[name].of_texts(chosen.planned.options, name) == chosen.method


def test_without_a_method_nothing_of_methods_is_recorded(tmp_path: Path) -> None:
    trained(method_plan(None), tmp_path)
    written = json.loads((tmp_path / "training.json").read_text("utf-8"))
    assert "method" not in written["plan"]
    assert not {"extra_cost", "measures"} & written.keys()


@pytest.mark.parametrize("path", sorted(ROOT.glob("docs/runs/*/*-seed0/training.json"))[:6], ids=str)
def test_published_records_read_as_ever_and_are_closed(path: Path) -> None:
    record = read_training_record(path.parent)
    assert (record.plan.method, record.extra_cost, record.measures) == (None, None, ())
    assert record.plan.division == "closed"
    assert TrainingRecord.model_validate_json(record.model_dump_json()) == record


def test_a_plan_knows_its_division() -> None:
    plain = method_plan(None)
    assert plain.division == "closed"
    assert method_plan("shares", "main=1/2").division == "open"
    shorter = tuple(part.model_copy(update={"max_length": 2}) for part in plain.parts)
    assert plain.model_copy(update={"parts": shorter}).division == "open", "another list"


def test_hooks_of_a_method_keep_tensors_over_interruptions(tmp_path: Path) -> None:
    plan = noisy_plan()
    whole = train(plan, tmp_path / "whole", method=Noisy())
    assert (whole.extra_cost.steps, whole.extra_cost.tokens) == (13, 91)  # type: ignore[union-attr]
    assert len(whole.measures) == 13
    for stop in (3, 11):
        hook = Remembering(stop)

        class Stopped(Noisy):
            def hooks(self, plan: RunSpec, hook: Hook = hook) -> list[Hook]:
                return [hook]

        train(plan, tmp_path / "pieces", method=Stopped(), resume=True)
    pieces = train(plan, tmp_path / "pieces", method=Noisy(), resume=True)
    assert_same_weights(tmp_path / "whole", tmp_path / "pieces")
    assert (pieces.extra_cost, pieces.measures, pieces.curve) == (whole.extra_cost, whole.measures, whole.curve)


class LogitsAtPoints(Hook):
    """Keeps what the module says at each point, computed as it is for the curve."""

    def __init__(self) -> None:
        self.logits: list[Tensor] = []

    def point(self, training: Training, point: CurvePoint) -> None:
        self.logits.append(logits_of(training.module))


def logits_of(module: torch.nn.Module) -> Tensor:
    was_training = module.training
    with torch.inference_mode():
        found: Tensor = module.eval()(torch.arange(3, 15)[None])
    module.train(was_training)
    return found.clone()


@pytest.mark.parametrize(("name", "options"), SOON.items(), ids=SOON)
def test_the_curve_shows_the_weights_as_they_are_at_each_point(
    name: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    plan, hook = method_plan(name, *options), LogitsAtPoints()
    build = planned_build(plan)
    train(plan, tmp_path, build=build, method=method_of(plan), hooks=[hook, KeepPoints()])
    folders = sorted(tmp_path.glob("points/step*"), key=lambda each: int(each.name.removeprefix("step")))
    assert len(folders) == len(hook.logits) >= 2
    for folder, logits in zip(folders, hook.logits, strict=True):
        _, kept = load_module(folder, build=build)
        torch.testing.assert_close(logits, logits_of(kept))


def test_a_plan_is_not_trained_without_its_method(tmp_path: Path) -> None:
    plan = method_plan("shares", "main=1/2")
    with pytest.raises(LgbenchError, match="names the method shares"):
        train(plan, tmp_path / "a")
    with pytest.raises(LgbenchError, match="names none"):
        train(method_plan(None), tmp_path / "a", method=method_of(plan))
    with pytest.raises(LgbenchError, match="other options"):
        train(plan, tmp_path / "a", method=METHODS["shares"]())
    assert not (tmp_path / "a").exists()


def test_the_reference_model_is_not_trained_for_a_plan_of_another(tmp_path: Path) -> None:
    other = method_plan("state-space")
    with pytest.raises(LgbenchError, match=r"names the model lgbench\.models\.state_space:build"):
        train(other, tmp_path / "a", method=method_of(other))
    assert not (tmp_path / "a").exists()


def test_what_makes_two_runs_the_same() -> None:
    half, third = (method_plan("shares", f"main={share}") for share in ("1/2", "1/3"))
    assert difference(half, half) is None
    assert difference(half, third) == "its method is shares (main=1/2) there and shares (main=1/3) here"
    assert difference(method_plan(None), half) == "its method is none there and shares (main=1/2) here"


def test_other_shares(tmp_path: Path) -> None:
    record = assert_resumes(method_plan("shares", "main=1/2"), tmp_path)
    change = record.changes[0]
    assert change.step == 0
    assert [str(part.share) for part in change.mixed] == ["1/2", "1/4", "1/4"]  # type: ignore[union-attr]
    assert not record.data_changed, "its plan says that it does"
    assert_neutral("shares", folder=tmp_path)


def test_a_users_method_on_the_command_line(lgbench: Shell) -> None:
    own = ["--method", "own.py:Hotter", "--method-option", "factor=3"]
    command = ["train", "copy-mqar", "transfer", *SMALL, *own, "--output", "a"]
    done = lgbench(*command)
    assert done.status == 0, done.err
    plan = plan_of("a")
    assert plan["method"]["name"] == "own.py:Hotter"
    assert plan["method"]["options"] == {"factor": "3.0"}
    assert plan["settings"]["learning_rate"] == 3e-3
    again = lgbench("retrain", "a", "--output", "b")
    assert "lgbench runs no code because a record names it" in " ".join(again.err.split())
    again = lgbench("retrain", "a", "--method", "own.py:Hotter", "--output", "b")
    assert again.status == 0, again.err
    assert plan_of("b/a")["method"] == plan["method"]
    Path("own.py").write_text(OWN + "\n", encoding="utf-8")
    changed = " ".join(lgbench(*command, "--resume").err.split())
    assert "the file of the method own.py:Hotter has changed since" in changed
    assert "is not the method of the run" in lgbench("retrain", "a", "--method", "own.py:Hotter", "--output", "c").err


def test_a_run_with_a_method_of_lgbench_is_trained_again_from_its_record(lgbench: Shell) -> None:
    own = ["--method", "shares", "--method-option", "main=0.5"]
    assert lgbench("train", "copy-mqar", "transfer", *SMALL, *own, "--output", "a").status == 0
    done = lgbench("retrain", "a", "--output", "b")
    assert done.status == 0, done.err
    assert plan_of("b/a") == plan_of("a")
    assert "equal to the recorded ones" in done.out


@pytest.mark.parametrize(
    "command",
    [
        ["reproduce", "--group", "copy-mqar", "--arm", "transfer", "--seeds", "1"],
        ["sweep", "copy-mqar", "--main-lengths", "2", "--aux-lengths", "4"],
        ["ablate", "capitalize-reverse", "--seeds", "1"],
    ],
)
def test_experiments_take_a_method(command: list[str], lgbench: Shell) -> None:
    own = ["--method", "own.py:Hotter", "--method-option", "factor=2"]
    done = lgbench(*command, *SMALL, *own, "--output", "runs")
    assert done.status == 0, done.err
    records = [read_training_record(path.parent) for path in Path("runs").glob("*/training.json")]
    assert records
    assert {record.plan.settings.learning_rate for record in records} == {2e-3}
    assert "name their folder with --output" in lgbench(*command, *own).err


@pytest.mark.slow
def test_a_method_goes_with_the_run_to_other_processes(lgbench: Shell) -> None:
    Path("pool.py").write_text(
        "from concurrent.futures import ProcessPoolExecutor\nfrom multiprocessing import get_context\n\n"
        "def make():\n    return ProcessPoolExecutor(1, mp_context=get_context('spawn'))\n",
        encoding="utf-8",
    )
    command = ["ablate", "capitalize-reverse", "--seeds", "1", *SMALL, "--method", "own.py:Hotter"]
    assert lgbench(*command, "--output", "here").status == 0
    done = lgbench(*command, "--output", "there", "--executor", "pool.py:make")
    assert done.status == 0, done.err
    for folder in Path("here").iterdir():
        assert_same_weights(folder, Path("there") / folder.name)


def test_a_method_of_a_users_file_is_sent_along(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lgbench.experiments.base import Run
    from lgbench.experiments.transport import _references

    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text(OWN, encoding="utf-8")
    plan = method_plan("own.py:Hotter")
    from functools import partial

    assert "own.py:Hotter" in _references(partial(print), Run(plan, tmp_path, "a"))


def test_an_open_method_is_evaluated_under_its_arm(lgbench: Shell) -> None:
    own = ["--method", "shares", "--method-option", "main=0.5"]
    done = lgbench("reproduce", "--group", "copy-mqar", "--arm", "transfer", "--seeds", "1", *SMALL, *own, "-o", "r")
    assert done.status == 0, done.err
    result = json.loads(Path("r/copy-mqar-transfer-seed0/result/result.json").read_text("utf-8"))
    assert result["arm"] == "transfer"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--method", "share"], "'share' is not a method. Did you mean 'shares'?"),
        (["--method", "own.py:Nothing"], "has no method 'Nothing'"),
        (["--method", "own.py:NoMethod"], "it must be a subclass of lgbench.training.method.Method"),
        (["--method", "none.py:A"], "There is no file 'none.py'"),
        (["--method-option", "main=1/2"], "needs --method NAME"),
        (["--method", "shares", "--method-option", "main"], "does not read as key=value"),
        (["--method", "shares", "--method-option", "mian=1/2"], "Did you mean 'main'?"),
        (["--method", "shares", "--method-option", "main=2"], "--method-option main=2 of 'shares': Input should be"),
        (["--method", "shares", "--method-option", "main=x"], "--method-option main=x of 'shares'"),
        (["--method", "shares", "--method-option", "main=1/1009"], "denominator of at most 100"),
        (["--method", "own.py:Hotter", "--method-option", "factor=0"], "factor=0 of 'own.py:Hotter'"),
        (["--method", "own.py:Hotter", "--method-option", "factor=1e400"], "learning_rate would be inf"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    given: list[str], message: str, lgbench: Shell
) -> None:
    done = lgbench("train", "copy-mqar", "transfer", *SMALL, *given, "--output", "a")
    assert done.status == 1
    assert message in " ".join(done.err.split())
    assert not Path("a").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "def planned(self, plan): plan",
            "`planned` of the method 'mine.py:Mine' returned a NoneType; it must return a plan",
        ),
        ("def hooks(self, plan): return Hook()", "`hooks` of the method Mine must return a list of instances of"),
        ("def hooks(self, plan): return [Hook]", "`hooks` of the method Mine must return a list of instances of"),
        ("pass", "The method Mine changes nothing: it must define `planned(self, plan)`, `hooks(self, plan)` or both."),
        ("def hook(self, plan): return []", "The method Mine defines 'hook', which lgbench does not use. Did you mean"),
        ("def plan(self, plan): return plan", "Did you mean 'planned'? If not, rename it, as in '_plan'. It can"),
        (
            "def planned(self, plan): return plan\n    divisions: ClassVar = 'open'",
            "defines 'divisions', which lgbench does not use. Did you mean 'division'?",
        ),
        ("division = 'half-open'", "The division of the method 'mine.py:Mine' is 'half-open'; valid: closed, open."),
    ],
)
def test_a_users_method_that_is_unfit_is_told_in_a_sentence(body: str, message: str, lgbench: Shell) -> None:
    Path("mine.py").write_text(
        "from typing import ClassVar\n"
        "from lgbench.training.hooks import Hook\nfrom lgbench.training.method import Method\n\n"
        f"class Mine(Method):\n    {body}\n",
        "utf-8",
    )
    done = lgbench("train", "copy-mqar", "transfer", "--method", "mine.py:Mine", *SMALL, "--output", "a")
    assert done.status == 1
    assert message in " ".join(done.err.split())


def test_every_name_of_a_method_of_lgbench_is_a_methods() -> None:
    for method in METHODS.values():
        method.check_names()


def test_a_method_without_a_docstring_says_so(lgbench: Shell) -> None:
    Path("mine.py").write_text("from lgbench.training.method import Method\n\nclass Mine(Method):\n    pass\n", "utf-8")
    assert "It has no docstring, which would be its definition." in lgbench("methods", "show", "mine.py:Mine").out


def test_shares_need_several_tasks() -> None:
    with pytest.raises(LgbenchError, match="several tasks"):
        method_plan("shares", "main=1/2", arm="main_only")


def test_ctrl_c_before_the_first_step_of_a_method_leaves_the_run_to_be_taken_up(tmp_path: Path) -> None:
    class Pressed(Noisy):
        def hooks(self, plan: RunSpec) -> list[Hook]:
            return [Pressing()]

    class Pressing(Remembering):
        def start(self, training: Training) -> None:
            assert not training.is_interrupted
            os.kill(os.getpid(), signal.SIGINT)
            assert training.is_interrupted

    with pytest.raises(KeyboardInterrupt):
        train(noisy_plan(), tmp_path, method=Pressed())
    assert train(noisy_plan(), tmp_path, method=Noisy(), resume=True).finished


def test_the_python_interface_takes_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import lgbench

    monkeypatch.chdir(tmp_path)
    settings = dict(change.split("=") for change in TINY)
    record = lgbench.train(
        "copy-mqar", "transfer", settings=settings, method="shares", method_options={"main": 0.25}, output="a"
    )
    assert record.plan.method is not None
    assert record.plan.method.options == {"main": "1/4"}


def test_find_method_gives_classes() -> None:
    assert all(find_method(name) is method for name, method in METHODS.items())


@pytest.mark.slow
def test_the_example_of_the_page_works(lgbench: Shell) -> None:
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    (code,) = re.findall(r"<!-- file: warmer.py -->\n```python\n(.*?)```", page, re.S)
    Path("warmer.py").write_text(code, encoding="utf-8")
    (command,) = re.findall(r"\$ lgbench (train .*warmer.*)", page)
    done = lgbench(*command.split(), *SMALL)
    assert done.status == 0, done.err
    record = read_training_record(Path("runs/warmer"))
    assert record.plan.settings.learning_rate == 3e-3
    assert [each.step for each in record.measures] == [1, 2, 3, 4]


def test_the_page_has_every_method_with_its_division() -> None:
    page = (ROOT / "docs" / "methods.md").read_text("utf-8")
    rows = re.findall(r"^\| \[`([\w-]+)`\]\(#[\w-]+\) \| (closed|open) \|", page, re.M)
    assert dict(rows) == {name: method.division for name, method in METHODS.items()}
