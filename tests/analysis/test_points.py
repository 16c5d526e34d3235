"""Measures over training: a tiny run that keeps its weights, and a record made by hand."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

import scipy.stats
from typer.testing import CliRunner

from lgbench.analysis.heads import ablation_distance, analyze_heads
from lgbench.analysis.opening import open_model
from lgbench.analysis.points import Apart, Point, PointsRecord, analyze_points
from lgbench.analysis.records import read_analysis
from lgbench.cli import app
from lgbench.training.hooks import KeepPoints
from lgbench.training.record import read_training_record
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from tests.tiny_training import tiny_plan


@pytest.fixture(name="run", scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("run")
    train(tiny_plan(), folder, hooks=[KeepPoints()])
    return folder


def test_the_command_resumes(run: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    given = ["analyze", "points", str(run), "--examples", "16", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = read_analysis(tmp_path / "points.json", PointsRecord)
    assert record.steps == tuple(each.step for each in record.points) == (5, 10, 12)
    assert record.lengths == (8,)
    assert len(record.frame()) == 3 * 2
    assert {path.name for path in tmp_path.iterdir()} == {
        *("points.json", "points-measures.csv", "points-correlations.csv", "points.svg"),
    }
    opened = open_model(str(run / "points" / "step10"), device="cpu")
    heads = analyze_heads(opened, lengths=[8], ablations=["mean"], examples=16)
    maps = [heads.find(task, 8, "mean").drops("logprob") for task in ("capitalize_reverse", "reverse")]
    found = record.points[1].apart[1]
    assert found.task == "reverse"
    assert found.ablation_logprob == pytest.approx(ablation_distance(*maps))
    assert not found.learned
    counts = read_training_record(run).curve[1].correct
    grid = counts["reverse"]
    gap = sum(abs(counts["capitalize_reverse"][each] - grid[each]) / 64 for each in grid) / len(grid)
    assert found.gap == pytest.approx(gap)
    (tmp_path / "points.json").write_text(record.model_copy(update={"points": record.points[:2]}).model_dump_json())
    again = CliRunner().invoke(app, given, catch_exceptions=False)
    assert "step 10" not in again.stderr
    assert "step 12" in again.stderr
    assert read_analysis(tmp_path / "points.json", PointsRecord) == record
    other = CliRunner().invoke(app, [*given, "--length", "4"])
    assert "holds another analysis" in str(other.exception)


def test_correlations_are_spearmans_over_points_and_changes() -> None:
    values = [(0.9, 0.5, 0.4), (0.7, 0.6, 0.1), (0.4, 0.2, 0.3), (0.5, 0.1, 0.2), (0.1, 0.15, 0.25)]
    points = tuple(
        Point(
            step=step,
            weights_sha256="0" * 64,
            apart=(Apart(task="mqar", gap=gap, learned=True, ablation_exact=a, ablation_logprob=b, attention=None),),
        )
        for step, (gap, a, b) in enumerate(values, start=1)
    )
    record = PointsRecord(
        suite="mini-v1",
        run="x",
        group="copy-mqar",
        arm="transfer",
        seed=0,
        examples=16,
        tasks=("string_copy", "mqar"),
        lengths=(8,),
        steps=(1, 2, 3, 4, 5),
        points=points,
    )
    found = record.correlations().set_index("measure")
    assert list(found.index) == ["ablation_exact", "ablation_logprob"]
    for at, measure in ((1, "ablation_exact"), (2, "ablation_logprob")):
        gaps, measures = [each[0] for each in values], [each[at] for each in values]
        assert found["points"][measure] == pytest.approx(scipy.stats.spearmanr(measures, gaps).statistic)
        changes = [[b - a for a, b in itertools.pairwise(each)] for each in (measures, gaps)]
        assert found["changes"][measure] == pytest.approx(scipy.stats.spearmanr(changes[0], changes[1]).statistic)


def test_bad_input_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(LgbenchError, match="up to 8, not at 10: a task cannot lose what it does not have"):
        analyze_points(run, lengths=[10])
    shutil.copy(run / "training.json", tmp_path)
    with pytest.raises(LgbenchError, match=r"has kept no weights along the way\. Train with --hook keep-points"):
        analyze_points(tmp_path)
    with pytest.raises(LgbenchError, match="holds no training run"):
        analyze_points(tmp_path / "none")
    train(tiny_plan(arm="main_only"), tmp_path / "alone", hooks=[KeepPoints()])
    with pytest.raises(LgbenchError, match="trained 'capitalize_reverse' alone"):
        analyze_points(tmp_path / "alone")
