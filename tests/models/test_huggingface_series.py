"""Series of checkpoints of a Hugging Face model: revisions, and results by pretraining step."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from benchmarks.llama import make_llama
from lgbench.cli import main
from lgbench.experiments.series import by_step, pretraining_step, split_revisions, spread_revisions
from lgbench.models.huggingface.folder import check_revisions, find_folder
from lgbench.results.schema import Result, SystemInfo
from lgbench.util.errors import LgbenchError
from lgbench.util.records import read_record
from tests.made_up import make_result


def test_a_series_evaluates_each_checkpoint_and_draws_them_by_step(tmp_path: Path) -> None:
    for step in (200, 1000, 30):
        make_llama(tmp_path / "series" / f"step-{step}", seed=step, end_weight=2.0)
    command = [sys.executable, "-m", "lgbench", "eval", f"hf:{tmp_path / 'series'}", "--task", "mqar", "--limit", "3"]
    command += ["--length", "2", "--model-option", "revisions=step-200,step-1000,step-30"]
    done = subprocess.run(
        [*command, "--output", str(tmp_path / "out"), "--json"], capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    assert [each["model"] for each in json.loads(done.stdout)] == [f"hf:{tmp_path / 'series'}"] * 3
    paths = {path.name: path / "result.json" for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert paths.keys() == {"step-200", "step-1000", "step-30"}
    results = [read_record(path, Result) for path in paths.values()]
    assert list(by_step(results)) == [30, 200, 1000]
    assert len({result.system.source_sha256 for result in results}) == 3
    if importlib.util.find_spec("matplotlib"):
        assert "pretraining step" not in done.stdout
        assert (tmp_path / "out" / "series.svg").read_text("utf-8").startswith("<?xml")


def test_a_list_of_revisions_behind_the_name_is_a_series(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (3, 20):
        make_llama(tmp_path / "series" / f"step-{step}", seed=step)
    model, out = f"hf:{tmp_path / 'series'}", tmp_path / "out"
    command = ["lgbench", "eval", f"{model}@step-20,step-3", "--task", "mqar", "--length", "2", "--limit", "1"]
    monkeypatch.setattr("sys.argv", [*command, "--output", str(out), "--json"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    results = [read_record(out / revision / "result.json", Result) for revision in ("step-3", "step-20")]
    assert [each["model"] for each in json.loads(capsys.readouterr().out)] == [model, model]
    assert [result.system.options for result in results] == [{"revision": "step-3"}, {"revision": "step-20"}]
    assert list(by_step(results)) == [3, 20]


def test_a_series_that_stops_between_two_revisions_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (1, 2):
        make_llama(tmp_path / f"step-{step}", seed=step)
    (tmp_path / "step-2" / "model.safetensors").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    model = f"hf:{tmp_path}@step-1,step-2"
    monkeypatch.setattr("sys.argv", ["lgbench", "eval", model, "--task", "mqar", "--length", "2", "--limit", "3"])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == 1
    (folder,) = Path("runs").iterdir()
    assert f"resume with:\n  {shlex.join(sys.argv)} --resume --output {folder}" in told


def test_revisions_are_named_in_one_place(tmp_path: Path) -> None:
    assert spread_revisions("hf:me/tiny@a,b", {"dtype": "auto"}) == (
        "hf:me/tiny",
        {"dtype": "auto", "revisions": "a,b"},
    )
    for single in ("hf:me/tiny@step-1", "hf:me/tiny", "api:me/tiny@a,b", f"hf:{tmp_path}"):
        assert spread_revisions(single, {"dtype": "auto"}) == (single, {"dtype": "auto"})
    (tmp_path / "odd@a,b").mkdir()
    assert spread_revisions(f"hf:{tmp_path}/odd@a,b", {}) == (f"hf:{tmp_path}/odd@a,b", {})
    for option in ("revision", "revisions"):
        with pytest.raises(LgbenchError, match=f"'hf:x@a,b' names revisions, and so does the model option {option}\\."):
            spread_revisions("hf:x@a,b", {option: "c"})
    for model, options in (("hf:x", {"revision": "a", "revisions": "a,b"}), ("api:x", {"revisions": "a,b"})):
        with pytest.raises(LgbenchError, match="is for hf: models, and takes the place of revision"):
            spread_revisions(model, options)


def test_a_series_with_a_checkpoint_that_is_missing_evaluates_none(tmp_path: Path) -> None:
    make_llama(tmp_path / "series" / "step-1")
    (tmp_path / "series" / "step-3").mkdir()
    model = f"hf:{tmp_path / 'series'}"
    for arguments, message in (
        ([model, "--model-option", "revisions=step-1,step-2"], "no checkpoint 'step-2'. It has: step-1."),
        ([f"{model}@step-1,step-3"], "no config.json"),
    ):
        command = [sys.executable, "-m", "lgbench", "eval", *arguments, "--task", "mqar"]
        command += ["--output", str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        assert done.returncode == 1
        assert message in done.stderr
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["~no.such.user/x", "~no.such.user/x@step-1", "~no.such.user/x@step-1,step-2"])
def test_a_user_who_is_not_known_here_is_told(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sentence = re.escape(f"There is no folder {place!r}: no home of '~no.such.user' is known. Write the path out.")
    with pytest.raises(LgbenchError, match=sentence):
        find_folder(place, revision=None)
    with pytest.raises(LgbenchError, match=sentence):
        check_revisions(place, ["step-1", "step-2"])
    if "," in place:
        with pytest.raises(LgbenchError, match=sentence):
            spread_revisions(f"hf:{place}", {})
    assert spread_revisions("~no.such.user/m.py:A@1,2", {}) == ("~no.such.user/m.py:A@1,2", {}), "no hf: model"


def test_the_step_of_a_checkpoint() -> None:
    for revision, step in (("step-20", 20), ("stage1-step140000-tokens294B", 140_000), ("v700", 700)):
        assert pretraining_step(revision) == step
    for model, expected in (("hf:me/tiny@step-3", 3), ("hf:runs/v2/checkpoint-500/", 500)):
        assert list(by_step([make_result(lambda cell: 0, system=SystemInfo(model=model, kind="hf"))])) == [expected]
    for model in (
        "hf:HuggingFaceTB/SmolLM2-360M-Instruct",
        "hf:me/model-3",
        "hf:me/tiny@2024-05",
        f"hf:me/tiny@step-{10**15}",
    ):
        with pytest.raises(LgbenchError, match="names no step"):
            by_step([make_result(lambda cell: 0, system=SystemInfo(model=model, kind="hf"))])


def test_revisions_that_are_no_series() -> None:
    assert split_revisions("step-20, step-3") == ["step-3", "step-20"]
    for text in ("step-1,,step-2", "step-1,step-1", "main,step-1", "a-step1,b-step1"):
        with pytest.raises(LgbenchError):
            split_revisions(text)
