"""Kinds of models that installed packages offer, each a small distribution that the test writes."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lgbench.evaluation.evaluator import evaluate
from lgbench.models.listing import kinds_of_models
from lgbench.models.loading import load_model
from lgbench.results.schema import SystemInfo
from lgbench.submissions.eligibility import ineligible
from lgbench.submissions.plausible import implausible
from lgbench.util.errors import LgbenchError, ModelError
from tests.data.test_adding_a_task import run
from tests.made_up import make_result
from tests.shell import Shell

SOURCE = '''
"""A package for tests."""
from dataclasses import dataclass

import lgbench
from lgbench.models.builtin import Oracle
from lgbench.models.schemes import Scheme
from lgbench.results.schema import SystemInfo


@dataclass(frozen=True, kw_only=True)
class Options:
    times: int
    upper: bool = False


class Parrot:
    parameters = 3
    device = "a perch"

    def __init__(self, text, options):
        self.text = (text.upper() if options.upper else text) * options.times

    def predict(self, prompts, task):
        return [self.text for _ in prompts]


def load(name, rest, options):
    return Parrot(rest, options)


def load_whole(name, rest, options):
    given = SystemInfo(model="another", kind="checkpoint", source_sha256=("0" * 64,))
    return lgbench.Model(Oracle(), given, may_change=frozenset({"x"}))


def refuse(given):
    if "secret" in given:
        raise lgbench.LgbenchError("The model option \'secret\' is refused.")


def fail(name, rest, options):
    raise OSError("no such disk")


parrot = Scheme(name="parrot", load=load, summary="says TEXT", rest="TEXT", options=Options, check=refuse)
whole = Scheme(name="whole", load=load_whole, summary="a whole Model")
broken = Scheme(name="broken", load=fail, summary="fails")
classy = Scheme(name="classy", load=lambda name, rest, options: Parrot, summary="returns a class")
number = Scheme(name="number", load=lambda name, rest, options: 3, summary="returns a number")
lazy = Scheme(name="lazy", load="load", summary="has a text for a loader")
hf = Scheme(name="hf", load=load, summary="takes a name of ours")
checkpoint = Scheme(name="checkpoint", load=load, summary="takes a kind of ours")
'''

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with the module above and these entry points, in a folder on the path of imports."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "flock", raising=False)

    def install(*points: str, distribution: str = "flock", source: str = SOURCE) -> None:
        site = tmp_path / distribution
        record = site / f"{distribution}-1.5.dist-info"
        record.mkdir(parents=True)
        (record / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.5\n", "utf-8")
        (record / "entry_points.txt").write_text("\n".join(["[lgbench.schemes]", *points]) + "\n", "utf-8")
        (site / f"{distribution}.py").write_text(source, "utf-8")
        monkeypatch.syspath_prepend(str(site))

    return install


def test_a_scheme_of_an_installed_package_loads_a_model(install: Install, tmp_path: Path) -> None:
    install("parrot = flock:parrot")
    model = load_model("parrot:abc", {"times": "2", "upper": "yes"})
    result = evaluate(model, tasks=["reverse"], lengths=[4], limit=3, output=tmp_path / "run")
    assert model.predictor.predict(["x="], "reverse") == ["ABCABC"]  # type: ignore[union-attr]
    assert result.system == SystemInfo(
        model="parrot:abc", kind="parrot", options={"times": "2", "upper": "yes"}, parameters=3
    )
    assert result.environment.device == "a perch"


def test_a_loader_cannot_pass_its_model_off_as_a_kind_of_ours(install: Install) -> None:
    install("whole = flock:whole")
    model = load_model("whole:x")
    assert model.system == SystemInfo(model="whole:x", kind="whole", source_sha256=("0" * 64,))


@pytest.mark.parametrize(
    ("point", "model", "options", "sentence"),
    [
        ("parrot = flock:parrot", "parrot:a", {"tines": "2"}, "no model option 'tines'. Valid: times, upper"),
        ("parrot = flock:parrot", "parrot:a", {}, "needs the model option 'times': add --model-option times=VALUE"),
        ("parrot = flock:parrot", "parrot:a", {"times": "two"}, "times='two' of 'parrot:a' must be of type int"),
        ("parrot = flock:parrot", "parrot:a", {"secret": "x"}, "The model option 'secret' is refused."),
        ("whole = flock:whole", "whole:x", {"times": "2"}, "'whole:x' has no model option 'times'. It takes none."),
        ("classy = flock:classy", "classy:x", {}, "of flock 1.5 loaded 'classy:x' as type. Its loader must return"),
        ("number = flock:number", "number:x", {}, "of flock 1.5 loaded 'number:x' as int. Its loader must return"),
        ("lazy = flock:lazy", "lazy:x", {}, "has no loader: 'load' cannot be called"),
        ("mine = flock:load", "mine:x", {}, r"flock 1.5 \(flock:load\) is of type function. It must be .*Scheme"),
        ("mine = flock:parrot", "mine:x", {}, "is a scheme named 'parrot'. Use one name"),
        ("checkpoint = flock:checkpoint", "checkpoint:x", {}, "'checkpoint', a name that lgbench itself uses"),
        ("Bad.Name = flock:parrot", "Bad.Name:x", {}, "is not a valid name: 2 to 40 lower-case letters"),
        ("parrot = flock:parrot", "parot:x", {}, r"not a scheme \(hf, api, replay, tiny, parrot\)"),
        ("parrot = flock:parrot", "parrot:", {}, "'parrot:' is not a model. Did you mean 'parrot:...'"),
    ],
)
def test_what_is_wrong_with_a_scheme_is_one_sentence(
    point: str, model: str, options: dict[str, str], sentence: str, install: Install
) -> None:
    install(point)
    with pytest.raises(LgbenchError, match=sentence):
        load_model(model, options)


@pytest.mark.parametrize(
    ("point", "sentence", "shown"),
    [
        ("broken = flock:broken", "Loading 'broken:x' raised OSError: no such disk", "in fail"),
        ("gone = flock:gone", r"Loading the scheme 'gone' \(flock:gone\) of flock 1.5 raised AttributeError", "gone"),
        ("lost = nowhere_to_be_found:x", "of flock 1.5 raised ModuleNotFoundError", "nowhere_to_be_found"),
    ],
)
def test_a_scheme_that_raises_is_its_authors(point: str, sentence: str, shown: str, install: Install) -> None:
    install(point)
    with pytest.raises(ModelError, match=sentence) as caught:
        load_model(f"{point.partition(' ')[0]}:x")
    assert shown in caught.value.user_traceback


def test_two_packages_with_one_scheme(install: Install) -> None:
    install("parrot = flock:parrot")
    install("parrot = swarm:parrot", distribution="swarm")
    with pytest.raises(LgbenchError, match=r"(flock|swarm) 1.5 and (flock|swarm) 1.5 both offer the scheme 'parrot'"):
        load_model("parrot:x")


def test_a_scheme_of_ours_is_taken_by_nobody_and_loads_no_package(install: Install) -> None:
    install("replay = flock:parrot", "other = flock:parrot", source="raise RuntimeError('loaded')\n")
    with pytest.raises(LgbenchError, match="Cannot read the replies file"):
        load_model("replay:gone.jsonl")
    assert load_model("oracle").system.kind == "builtin"
    with pytest.raises(ModelError, match="RuntimeError: loaded"):
        load_model("other:x")


def test_the_kinds_are_listed_with_their_options_and_their_packages(
    install: Install, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install("parrot = flock:parrot", "gone = flock:gone", "hf = flock:hf")
    kinds = {kind.form: kind for kind in kinds_of_models()}
    assert kinds["parrot:TEXT"].options == ("times: int", "upper: bool = False")
    assert "endpoint: chat|completions = chat" in kinds["api:NAME"].options
    done = Shell(capsys, monkeypatch)("models")
    assert done.status == 0
    assert "parrot:TEXT (flock 1.5)\n  says TEXT\n  model options\n    times: int\n    upper: bool = False" in done.out
    assert "PROBLEM: Loading the scheme 'gone'" in done.out
    assert "PROBLEM: flock 1.5 offers the scheme 'hf', a name that lgbench itself uses" in done.out


@pytest.mark.slow
def test_the_package_of_the_page_works(install: Install, tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8")
    files = dict(re.findall(r"<!-- file: (my_package.py|pyproject.toml) -->\n```\w+\n(.*?)^```$", page, re.M | re.S))
    points = tomllib.loads(files["pyproject.toml"])["project"]["entry-points"]["lgbench.schemes"]
    written = [f"{name} = {value}" for name, value in points.items()]
    install(*written, distribution="my_package", source=files["my_package.py"])
    commands = re.findall(r"^\$ lgbench (models|eval repeat.*)$", page, re.M)
    root = Path(__file__).parents[2]
    listed, evaluated = (
        run(tmp_path / "my_package", "-m", "lgbench", *each.split(), package=root) for each in commands
    )
    assert "repeat:SIGN (my_package 1.5)\n  repeats the prompt" in listed
    (result,) = (tmp_path / "my_package" / "runs").glob("*/result.json")
    system = json.loads(result.read_text("utf-8"))["system"]
    assert (system["model"], system["kind"], system["options"]) == ("repeat:-", "repeat", {"times": "2"})
    assert "capitalize" in evaluated
    assert load_model("repeat:-", {"times": "2"}).predictor.predict(["ab="], "reverse") == ["ab-ab"]  # type: ignore[union-attr]


def problems(kind: str, model: str) -> list[str]:
    """What is wrong with a submitted result of such a model, apart from what the made-up result lacks."""
    result: Any = make_result(
        lambda cell: 256, arm="main_only", group="copy-mqar", seed=0, system=SystemInfo(model=model, kind=kind)
    )
    return [str(each.message) for each in (*ineligible(result), *implausible(result)) if each.field == "system.model"]


def test_a_kind_from_outside_is_trusted_no_more_than_a_module() -> None:
    assert problems("parrot", "parrot:abc") == []
    for inner in ("lgbench.models.builtin:Oracle", "oracle", "tiny:transfer"):
        (said,) = problems("parrot", f"parrot:{inner}")
        assert "only serves to try lgbench" in said
    assert "of kind 'parrot' is named parrot:..." in problems("parrot", "abc")[0]


@pytest.mark.parametrize("kind", ["", "x", "Parrot", "a b", "a.b", "\x1b[31m", "p" * 41, "parrot\n"])
def test_a_kind_has_the_name_of_a_scheme(kind: str) -> None:
    with pytest.raises(ValueError, match="pattern"):
        SystemInfo(model="x", kind=kind)
