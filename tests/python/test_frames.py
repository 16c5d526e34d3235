"""Frames say what the files, the tables and the JSON say, to the last digit."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import binomtest

import lgbench
from lgbench.cli._report import summary
from lgbench.python.board import Board
from lgbench.python.records import Records
from lgbench.scoring.frames import DIAGNOSTICS, Labelled, comparison_frame, frame, result_frame
from lgbench.scoring.systems import score_trained
from lgbench.scoring.verdicts import comparison_record
from lgbench.training.planned import PlannedMethod
from lgbench.training.record import TrainingRecord
from lgbench.util.errors import LgbenchError
from tests.made_up import MINI, group_results, make_result
from tests.shell import Shell

ROOT = Path(__file__).parents[2]
ROPE = ROOT / "submissions" / "reference-rope"
RUN = ROPE / "mini-v1-maze-trace-transfer-seed0"
RECORD = ROOT / "docs" / "runs" / "reference-rope" / "mini-v1-maze-trace-transfer-seed0"


@pytest.fixture(name="lgbench_command")
def lgbench_shell(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(capsys, monkeypatch)


def known(value: Any) -> Any:
    """A cell of a frame as JSON has it."""
    return None if value is pd.NA or value is None or value != value else value


def test_a_frame_of_cells_is_what_the_file_holds() -> None:
    record = json.loads((RUN / "result.json").read_text("utf-8"))
    rows = lgbench.load_results(RUN).to_frame().to_dict("records")
    assert len(rows) == len(record["cells"]) > 10
    for row, cell in zip(rows, record["cells"], strict=True):
        counts = cell["counts"]
        assert (row["suite"], row["arm"], row["group"], row["seed"]) == ("mini-v1", "transfer", "maze-trace", 0)
        assert (row["system"], row["run"]) == ("reference-rope", str(RUN))
        assert (row["task"], row["length"]) == (cell["task"], cell["length"])
        assert (row["correct"], row["total"]) == (counts["correct"], counts["total"])
        assert row["accuracy"] == counts["correct"] / counts["total"]
        for name in DIAGNOSTICS:
            assert known(row[name]) == counts.get({"late": "starts_with_target"}.get(name, name)), name
        length = cell["length"]  # of mazes, trained to 8 and 16
        assert row["zone"] == ("in_distribution" if length <= 8 else "transfer" if length <= 16 else "beyond")
        interval = binomtest(counts["correct"], counts["total"]).proportion_ci(method="wilson")
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_a_frame_of_zones_is_the_json_of_eval() -> None:
    result = lgbench.load_results(RUN)[0]
    told = summary(result, RUN)
    rows = [{name: known(value) for name, value in row.items()} for row in result.to_frame("zones").to_dict("records")]
    expected = [(task["task"], zone, task) for task in told["tasks"] for zone in task["zones"]]
    assert [(row["task"], row["zone"]) for row in rows] == [(task, zone) for task, zone, _ in expected]
    for row, (_, zone, task) in zip(rows, expected, strict=True):
        of_zone = task["zones"][zone]
        assert {name: row[name] for name in ("correct", "total", "accuracy")} | {
            "interval": [row["low"], row["high"]]
        } == of_zone
        assert (row["horizon_90"], row["horizon_50"]) == (task["horizon_90"], task["horizon_50"])


def test_a_frame_of_runs_has_the_score_of_trained_and_open_runs() -> None:
    trained, open_result = lgbench.load_results(RUN)[0], make_result(lambda cell: cell.length)
    runs = result_frame([trained.labelled, Labelled(open_result, "mine")], "runs").to_dict("records")
    for row, result in zip(runs, (trained, open_result), strict=True):
        told = summary(result, RUN)
        assert row["transfer"] == told["score"]
        assert (row["correct"], row["total"], row["partial"]) == (told["correct"], told["total"], False)
    zones = trained.to_frame("zones")
    of_main = zones[zones["task"] == "dfs_trace"].set_index("zone")["accuracy"].to_dict()
    assert {zone: runs[0][zone] for zone in of_main} == of_main
    transfer = [  # by hand: the mean over the main tasks of the mean over the lengths of their transfer zone
        Fraction(sum(lengths), 256 * len(lengths))
        for task in MINI.main_tasks
        for group in [MINI.home_group(task)]
        if (lengths := [n for n in MINI.grid(task) if group.main_length < n <= group.aux_length])
    ]
    assert runs[1]["transfer"] == float(sum(transfer) / len(transfer))
    assert known(runs[1]["beyond"]) is None


def test_what_is_not_known_is_missing_and_never_zero() -> None:
    partial = make_result(lambda cell: 7, limit=None)
    partial = partial.model_copy(update={"cells": partial.cells[1:]})
    cells = result_frame([Labelled(partial, "x")])
    assert cells["seed"].isna().all()
    assert cells["valid_moves"].isna().all()
    runs = result_frame([Labelled(partial, "x")], "runs")
    assert runs["transfer"].isna().all()
    assert runs["partial"].tolist() == [True]
    zones = result_frame([Labelled(partial, "x")], "zones")
    first = zones[(zones["task"] == partial.cells[0].task) & (zones["zone"] == "in_distribution")]
    assert first[["correct", "total", "accuracy", "low", "high", "horizon_90"]].isna().all(axis=None)


def test_columns_have_one_type_whatever_a_result_lacks() -> None:
    old, new = lgbench.load_results(RUN)[0], make_result(lambda cell: 1, arm="control", group="copy-mqar", seed=1)
    types = [result_frame([each]).dtypes.drop("run").to_dict() for each in (old.labelled, Labelled(new, "x"))]
    assert types[0] == types[1]
    assert str(types[0]["seed"]) == str(types[0]["empty"]) == "Int64"
    assert str(types[0]["length"]) == "int64"


@pytest.mark.slow
def test_csv_and_json_and_parquet_of_show_are_the_frame(
    lgbench_command: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    folders = [f"submissions/reference-nope/mini-v1-copy-mqar-{arm}-seed0" for arm in ("main_only", "transfer")]
    for more, rows in (([], "runs"), (["--lengths"], "cells")):
        results = lgbench.load_results(*folders, rescore=rows == "cells")
        wanted = results.to_frame("runs" if rows == "runs" else "cells")
        listed = [{name: known(value) for name, value in row.items()} for row in wanted.to_dict("records")]
        assert json.loads(lgbench_command("show", *folders, "--json", *more).out) == listed
        csv = pd.read_csv(io.StringIO(lgbench_command("show", *folders, "--csv", *more).out))
        assert list(csv.columns) == list(wanted.columns)
        for name in ("accuracy", "low", "transfer"):
            if name in csv:
                assert csv[name].tolist() == wanted[name].tolist(), name
        pytest.importorskip("pyarrow")
        target = tmp_path / f"{rows}.parquet"
        assert lgbench_command("show", *folders, "--parquet", target, *more).status == 0
        pd.testing.assert_frame_equal(pd.read_parquet(target), wanted, check_dtype=False)


@pytest.mark.slow
def test_a_comparison_as_a_frame_is_its_json() -> None:
    runs = group_results(
        "copy-mqar", {"main_only": [0, 3], "transfer": [200, 250], "control": [9], "direct": [256] * 2}
    )
    scores = score_trained(runs, MINI)
    record = {
        (each["group"], name): (each, arm) for each in comparison_record(scores) for name, arm in each["arms"].items()
    }
    rows = comparison_frame(scores).to_dict("records")
    assert [(row["group"], row["arm"]) for row in rows] == list(record)
    for row in rows:
        group, arm = record[row["group"], row["arm"]]
        assert row["seeds"] == len(arm["seeds"])
        assert (row["in_distribution"], row["beyond"]) == (arm["zones"]["in_distribution"], arm["zones"]["beyond"])
        interval = arm["transfer"]["interval"] or [None, None]
        assert (row["transfer"], [known(row["low"]), known(row["high"])]) == (arm["transfer"]["value"], interval)
        assert (row["success_rate"], row["best_seed"]) == (arm["success_rate"], arm["best_seed"])
        assert (row["horizon_90"], known(row["gap"])) == (arm["horizon_90"], arm["gap"])
        gains = {gain["arm"]: gain for gain in group["gains"]}
        if row["arm"] not in gains:
            assert known(row["gain"]) is None
            continue
        gain = gains[row["arm"]]
        assert (row["baseline"], row["gain"]) == (gain["baseline"], gain["value"])
        assert [row["gain_low"], row["gain_high"]] == gain["interval"]
    assert rows[-1]["arm"] == "direct"
    assert known(rows[-1]["low"]) is None


def test_a_training_record_as_a_frame_is_its_file() -> None:
    pytest.importorskip("torch")
    record = json.loads((RECORD / "training.json").read_text("utf-8"))
    (read,) = lgbench.load_records(RECORD)
    rows = {(row["step"], row["task"], row["length"]): row for row in read.to_frame().to_dict("records")}
    expected = [
        (point["step"], task, int(length), count, point["loss"])
        for point in record["curve"]
        for task, counts in point["correct"].items()
        for length, count in counts.items()
    ]
    assert len(rows) == len(expected) > 100
    for step, task, length, count, loss in expected:
        row = rows[step, task, length]
        assert (row["correct"], row["total"], row["loss"]) == (count, 64, loss)
        assert row["accuracy"] == count / 64
        assert row["seed"] == record["plan"]["seed"]
        assert row["run"] == str(RECORD)
        assert known(row["method"]) is None
    assert len(repr(read)) < 300
    assert all(known(run) is None for run in TrainingRecord.model_validate(read.model_dump()).to_frame()["run"])


def test_a_frame_of_training_records_tells_runs_and_methods_apart() -> None:
    pytest.importorskip("torch")
    (read,) = lgbench.load_records(RECORD)
    method = PlannedMethod(name="ternary", division="closed")
    other = read.model_copy(update={"plan": read.plan.model_copy(update={"method": method})}).in_folder(Path("other"))
    frame = Records([read, other]).to_frame()
    assert frame["run"].unique().tolist() == [str(RECORD), "other"]
    assert [known(name) for name in frame.groupby("run", sort=False)["method"].first()] == [None, "ternary"]
    assert len(frame) == 2 * len(read.to_frame())


def test_a_training_record_is_equal_wherever_it_was_read() -> None:
    pytest.importorskip("torch")
    (read,) = lgbench.load_records(RECORD)
    assert read == read.in_folder(Path("other")) != read.model_copy(update={"seconds": 1.0})
    assert read != RECORD


@pytest.mark.slow
def test_the_board_as_a_frame_is_the_comparison_of_each_system(system: Path) -> None:
    board = lgbench.load_board(system.parent)
    assert repr(board) == "<Leaderboard of 1 system: my-system>"
    rows = board.to_frame()
    assert rows["system"].unique().tolist() == ["my-system"]
    scores = score_trained([lgbench.rescore(run) for run in sorted(system.glob("*/"))], MINI)
    pd.testing.assert_frame_equal(rows.drop(columns="system"), comparison_frame(scores))
    page = board._repr_html_()
    assert page.count("<tr>") == 2
    assert "my-system" in page
    assert all(f">{group.name}</th>" in page for group in MINI.groups)
    with pytest.raises(LgbenchError, match="No system here was evaluated under the arm open"):
        board.open_frame()


def test_a_frame_of_nothing_is_a_sentence() -> None:
    with pytest.raises(LgbenchError, match="There is no result to make a frame of"):
        lgbench.Results([]).to_frame()
    with pytest.raises(LgbenchError, match="no complete run of a trained arm"):
        comparison_frame(score_trained([], MINI))
    with pytest.raises(LgbenchError, match="so the board has no rows"):
        Board(()).to_frame()
    with pytest.raises(LgbenchError, match=r"'cell' is not a kind of rows\. Did you mean 'cells'"):
        result_frame([Labelled(make_result(lambda cell: 1), "x")], "cell")  # type: ignore[arg-type]


def test_a_fraction_becomes_the_nearest_float() -> None:
    third = frame(iter([{"x": Fraction(1, 3)}]))["x"][0]
    assert third == 1 / 3
