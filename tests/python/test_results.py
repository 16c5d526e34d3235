"""Results as Python hands them out: short when printed, safe in a notebook, with their replies at hand."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import warnings
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import lgbench
from lgbench.data.suites import Cell
from lgbench.evaluation.rescoring import rescore
from lgbench.models.builtin import Echo, Oracle
from lgbench.results.schema import Result as ResultRecord
from lgbench.results.schema import SystemInfo
from lgbench.scoring.systems import score_trained
from lgbench.util.errors import LgbenchError
from tests.made_up import MINI, make_result
from tests.submitted import RightUpTo

ROPE = Path(__file__).parents[2] / "submissions" / "reference-rope"
RUN = ROPE / "mini-v1-capitalize-reverse-transfer-seed0"
HOSTILE = "<script>alert(1)</script>\x1b[31m\n&\u202eevil" * 40


class Tags(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_result_is_printed_in_a_line() -> None:
    result = lgbench.load_results(RUN)[0]
    assert repr(result) == (
        "Result(model='runs/mini-v1-mini/capitalize-reverse-transfer-seed0/checkpoint', suite='mini-v1', "
        "arm='transfer', group='capitalize-reverse', seed=0, cells=30, correct=5651, total=7680)"
    )
    assert str(result) == repr(result)
    hostile = make_result(lambda cell: 1, system=SystemInfo(model=HOSTILE[:2000], kind="file"))
    assert len(repr(hostile)) < 400
    assert repr(hostile).isprintable()
    assert len(repr(lgbench.load_results(ROPE))) < 300


@pytest.mark.parametrize("several", [False, True])
def test_a_notebook_shows_curves_and_nothing_that_a_stranger_wrote_as_html(several: bool) -> None:
    record = make_result(
        lambda cell: 100,
        arm="transfer",
        group="copy-mqar",
        seed=0,
        system=SystemInfo(model=HOSTILE[:2000], kind="file"),
    )
    result = lgbench.Result.of(record, folder=None)
    page = (lgbench.Results([result, result]) if several else result)._repr_html_()
    shown = Tags(page)
    assert "script" not in shown.tags
    assert "<script>alert(1)</script>" in shown.text
    assert not {"\x1b", "\u202e"} & set(page)
    assert ("polyline" in shown.tags) == (not several), "two runs of one seed are in no picture"
    assert "table" in shown.tags


def test_a_notebook_shows_a_picture_for_each_group_of_one_system() -> None:
    runs = lgbench.load_results(*sorted(ROPE.glob("*-capitalize-reverse-*")), *sorted(ROPE.glob("*-copy-mqar-*")))
    shown = Tags(runs._repr_html_())
    assert shown.tags.count("svg") == 2
    assert shown.tags.count("rect") == 6, "the three zones of each, and no ground that hides the notebook's own"
    assert "currentColor" in runs._repr_html_()
    assert "transfer (3 seeds)" in shown.text
    assert shown.tags.count("tr") == 1 + len(runs)
    mixed = lgbench.Results(runs) + lgbench.load_results(*ROPE.parent.glob("reference-nope/*copy-mqar*"))
    assert "svg" not in Tags(mixed._repr_html_()).tags


def test_a_result_that_names_what_does_not_exist_is_shown_with_a_sentence() -> None:
    record = make_result(lambda cell: 3, arm="transfer", group="copy-mqar", seed=0)
    result = lgbench.Result.of(record.model_copy(update={"group": "<b>none"}), folder=Path("runs/odd"))
    page = Tags(result._repr_html_())
    assert "b" not in page.tags
    assert "'<b>none' is not a group" in page.text
    with pytest.raises(LgbenchError, match=r"^runs/odd: '<b>none' is not a group"):
        result.to_frame()


@pytest.mark.parametrize("narrowed", [{"lengths": 4}, {"tasks": "mqar", "lengths": [4, 6]}, {"group": "maze-path"}])
def test_a_notebook_shows_a_result_whatever_it_lacks(narrowed: dict[str, object]) -> None:
    result = lgbench.evaluate(Echo(), limit=2, **narrowed)  # type: ignore[arg-type]
    assert "table" in Tags(result._repr_html_()).tags


def test_the_replies_are_at_hand_as_long_as_the_result() -> None:
    result = lgbench.evaluate(RightUpTo(9), tasks="reverse_add", lengths=[2, 4, 6], limit=8)
    folder = result.folder
    assert folder is not None
    assert folder.exists()
    assert {cell.length: flags.tolist() for cell, flags in result.correct.items()} == {
        2: [True] * 8,
        4: [False] * 8,
        6: [False] * 8,
    }
    errors = result.errors(lengths=6)
    assert set(errors["mistake"]) == {"late"}
    assert (errors["reply"] == errors["target"] + "?").all()
    assert (errors["first_wrong"] == 7).all()
    del result
    gc.collect()
    assert not folder.exists()


def test_nothing_is_left_of_an_evaluation_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Raises:
        def predict(self, prompts: Sequence[str], task: str) -> Sequence[str]:
            raise ValueError("no")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(lgbench.ModelError, match="no"):
        lgbench.evaluate(Raises(), limit=1, tasks="reverse")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_results_in_memory_can_be_scored_as_those_in_folders(tmp_path: Path) -> None:
    def evaluated(arm: str, longest: int, output: Path | None) -> lgbench.Result:
        model = RightUpTo(longest)
        return lgbench.evaluate(model, arm=arm, group="add-multiply", seed=0, output=output)

    kept = [evaluated(arm, n, tmp_path / arm) for arm, n in (("main_only", 9), ("transfer", 15))]
    in_memory = [evaluated(arm, n, None) for arm, n in (("main_only", 9), ("transfer", 15))]
    ours, theirs = (
        score_trained(runs, MINI).groups[0].transfer_gain for runs in (in_memory, lgbench.load_results(tmp_path))
    )
    assert ours is not None
    assert theirs is not None
    assert (ours.value, ours.interval) == (theirs.value, theirs.interval)
    assert ours.value > 0
    assert kept[0] == lgbench.load_results(tmp_path)[0]
    assert kept[0] != kept[1]


def test_a_result_without_folder_says_so() -> None:
    result = lgbench.Result.of(make_result(lambda cell: 3), folder=None)
    assert result == make_result(lambda cell: 3)
    for ask in (lambda: result.correct, lambda: result.errors()):
        with pytest.raises(LgbenchError, match=r"not at hand: load its folder with lgbench\.load_results"):
            ask()


def test_a_system_is_labelled_by_its_submission_its_runs_folder_or_its_model(tmp_path: Path) -> None:
    assert lgbench.load_results(RUN)[0].label == "reference-rope"
    run = tmp_path / "alibi" / "copy-mqar-transfer-seed0"
    shutil.copytree(RUN, run / "result")
    assert lgbench.load_results(run)[0].label == lgbench.load_results(run)[0].system.model
    (run / "training.json").write_text("{}", encoding="utf-8")
    assert lgbench.load_results(run)[0].label == "alibi"
    assert lgbench.load_results(run, label="mine").to_frame("runs")["system"].tolist() == ["mine"]
    assert lgbench.evaluate(Oracle(), limit=1, tasks="mqar", label="right").label == "right"


def test_rescoring_gives_older_results_their_counts() -> None:
    old = lgbench.load_results(RUN)
    new = lgbench.rescore(RUN)
    assert old.to_frame()["early"].isna().all()
    assert not new.to_frame()["early"].isna().any()
    assert np.array_equal(new.correct[Cell("reverse", 18)], rescore(RUN).correct[Cell("reverse", 18)])
    with pytest.raises(LgbenchError, match="the result says"):
        lgbench.Result.of(ResultRecord.model_validate_json(_changed(RUN)), folder=RUN).correct  # noqa: B018  # it re-scores


def _changed(run: Path) -> str:
    record = json.loads((run / "result.json").read_text("utf-8"))
    record["cells"][0]["counts"]["chars_correct"] -= 1
    return json.dumps(record)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two good runs beside a damaged one, one of a newer lgbench, and one that is not finished."""
    for name in ("a", "b", "damaged", "newer"):
        lgbench.evaluate(Echo(), tasks="reverse", lengths=2, limit=4, output=tmp_path / name)
    (tmp_path / "damaged" / "result.json").write_text("{", encoding="utf-8")
    record = json.loads((tmp_path / "newer" / "result.json").read_text("utf-8"))
    record |= {"schema_version": 2, "new_field": 1}
    (tmp_path / "newer" / "result.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "replies.partial.jsonl").touch()
    return tmp_path


def test_a_sentence_for_each_run_that_cannot_be_read(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (closed := runs / "closed").mkdir()
    scan = os.scandir

    def refused(path: str) -> object:
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(LgbenchError) as stop:
        lgbench.load_results(runs)
    sentences = str(stop.value).splitlines()
    for name, words in (
        ("closed", "Permission denied"),
        ("begun", "not finished"),
        ("damaged", "is not valid JSON"),
        ("newer", "schema_version: is 2, and this lgbench"),
    ):
        assert [line for line in sentences if f"{os.sep}{name}" in line and words in line], name
    assert sentences[-1] == "2 other results were read: load_results(..., skip=True) takes these alone."
    assert len(sentences) == 5
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        left = lgbench.load_results(runs, skip=True)
    assert [each.folder for each in left] == [runs / "a", runs / "b"]
    assert len(told) == 4
    assert all(str(each.message).startswith("Left out: ") for each in told)


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match="There is no folder"):
        lgbench.load_results(tmp_path / "none")
    with pytest.raises(LgbenchError, match="holds no finished evaluation"):
        lgbench.load_results(tmp_path)
    with pytest.raises(LgbenchError, match="needs a folder"):
        lgbench.load_results()
    with pytest.raises(LgbenchError, match=r"There is no training\.json in"):
        lgbench.load_records(tmp_path)


def test_a_bar_is_shown_only_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    lgbench.evaluate(Echo(), tasks="reverse", limit=2)
    assert capsys.readouterr().err == ""
    lgbench.evaluate(Echo(), tasks="reverse", limit=2, progress=True)
    err = capsys.readouterr().err
    assert "0.0 % right" in err
    assert "20/20" in err
