"""Scores of replies and what is measured on them, against definitions written once more."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sklearn")

from scipy.spatial.distance import mahalanobis
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from typer.testing import CliRunner

from lgbench.analysis.confidence import analyze_confidence
from lgbench.analysis.confidence_record import ConfidenceRecord
from lgbench.analysis.opening import Opened, open_model
from lgbench.analysis.questions import draw_questions
from lgbench.analysis.records import read_analysis
from lgbench.analysis.scored import SCORES, Prototypes, fit_temperature, prompt_states, scored_replies
from lgbench.analysis.separation import (
    area_under_risk,
    calibration,
    middle,
    reliability,
    resampled_risk,
    resampled_separation,
    resamples_of,
    separation_of,
)
from lgbench.cli import app
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")


@pytest.fixture(scope="module")
def tiny() -> Opened:
    return open_model("tiny:transfer", device="cpu")


def test_scores_are_those_of_the_whole_reply_read_again(tiny: Opened) -> None:
    asked = draw_questions(MINI, ["capitalize_reverse"], 14, 12).examples["capitalize_reverse"]
    states = torch.randn(2, 5, prompt_states(tiny.hooked, asked[:1]).shape[1], dtype=torch.float64)
    found = scored_replies(tiny.hooked, asked, Prototypes(list(states)), temperature=2.0)
    module = cast(Any, tiny.hooked.module)
    replies = CheckpointPredictor(module).predict([each.prompt for each in asked], "capitalize_reverse")
    assert found.right.tolist() == [reply == each.target for reply, each in zip(replies, asked, strict=True)]
    assert set(found.scores) == set(SCORES)
    for at, (each, reply) in enumerate(zip(asked, replies, strict=True)):
        prompt, wanted = tiny.hooked.encode(each.task, each.prompt, reply)
        with torch.no_grad():
            logits = module(torch.tensor([[*prompt, *wanted[:-1]]]))[0, len(prompt) - 1 :].double()
        shares = logits.softmax(-1)
        chosen = shares[range(len(wanted)), wanted]
        best = shares.sort(descending=True).values
        tempered = (logits / 2).softmax(-1)[range(len(wanted)), wanted]
        expected = {
            "length": -len(prompt),
            "sum_logprob": chosen.log().sum(),
            "tempered_sum_logprob": tempered.log().sum(),
            "mean_logprob": chosen.log().mean(),
            "least_probability": best[:, 0].min(),
            "least_margin": (best[:, 0] - best[:, 1]).min(),
            "mean_entropy": (shares * shares.log()).sum(-1).mean(),
            "mean_energy": logits.exp().sum(-1).log().mean(),
        }
        for name, value in expected.items():
            assert found.scores[cast(Any, name)][at].item() == pytest.approx(float(value), abs=1e-3), name


def test_prototypes_by_their_definitions() -> None:
    torch.manual_seed(0)
    classes = [torch.randn(400, 3, dtype=torch.float64) * torch.tensor([1.0, 2.0, 0.5]) + at for at in range(3)]
    states = torch.randn(6, 3, dtype=torch.float64) * 3
    found = Prototypes(classes).scores(states)
    centred = np.concatenate([each.numpy() - each.numpy().mean(0) for each in classes])
    every = np.concatenate([each.numpy() for each in classes])
    within, overall = (np.linalg.inv(np.cov(each.T, bias=True)) for each in (centred, every - every.mean(0)))
    for at, state in enumerate(states.numpy()):
        means = [each.numpy().mean(0) for each in classes]
        nearest = min(mahalanobis(state, mean, within) ** 2 for mean in means)
        assert found["mahalanobis"][at].item() == pytest.approx(-nearest, rel=0.01)
        relative = mahalanobis(state, every.mean(0), overall) ** 2 - nearest
        assert found["relative_mahalanobis"][at].item() == pytest.approx(relative, rel=0.02, abs=0.05)
        cosines = np.array([state @ mean / np.linalg.norm(state) / np.linalg.norm(mean) for mean in means])
        assert found["concept_match"][at].item() == pytest.approx((np.exp(cosines) / np.exp(cosines).sum()).max())


def test_the_temperature_follows_the_scale_of_the_logits() -> None:
    asked = [each for task in ("reverse", "capitalize") for each in draw_cell(MINI, task, 18, split="dev")[:20]]
    model = open_model("tiny:transfer", device="cpu").hooked
    first = fit_temperature(model, asked)
    cast(Any, model.module).head.weight.data.mul_(0.5)
    assert 1 < first < 10
    assert fit_temperature(model, asked) == pytest.approx(first / 2, rel=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_separation_by_counting_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    positive = rng.random(60) < 0.4
    scores = np.round(rng.normal(size=60) + positive, 1)
    found = separation_of(scores, positive)
    pairs = [(a > b) + 0.5 * (a == b) for a in scores[positive] for b in scores[~positive]]
    assert found.auroc == pytest.approx(np.mean(pairs))
    recalls = {level: (np.mean(scores[positive] >= level), np.mean(scores[~positive] >= level)) for level in scores}
    nearest = min(abs(recall - 0.95) for recall, _ in recalls.values())
    assert found.fpr95 in [false for recall, false in recalls.values() if abs(recall - 0.95) <= nearest + 1e-12]
    gained = 0.0
    before = 0.0
    for level in sorted(recalls, reverse=True):
        kept = scores >= level
        gained += (recalls[level][0] - before) * positive[kept].mean()
        before = recalls[level][0]
    assert found.aupr == pytest.approx(gained)


def test_scores_without_meaning_separate_nothing() -> None:
    rng = np.random.default_rng(1)
    found = [separation_of(rng.normal(size=200), rng.random(200) < 0.5) for _ in range(200)]
    assert np.mean([each.auroc for each in found]) == pytest.approx(0.5, abs=0.01)
    assert np.mean([each.fpr95 for each in found]) == pytest.approx(0.95, abs=0.02)


def test_risk_by_hand() -> None:
    right = np.array([True, False, True, True])
    scores = np.array([0.9, 0.8, 0.3, 0.2])
    assert area_under_risk(scores, right) == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_confidence_that_is_the_chance_is_calibrated() -> None:
    rng = np.random.default_rng(2)
    confidence = rng.random(30_000)
    found = calibration(confidence, rng.random(30_000) < confidence)
    assert abs(found.over_confidence) < 0.01
    assert found.ece < 0.02
    assert found.brier == pytest.approx(1 / 6, abs=0.01)
    right = confidence < 0.4
    assert calibration(confidence, right).brier == pytest.approx(brier_score_loss(right, confidence))
    sure = calibration(np.full(100, 0.9), np.arange(100) < 30)
    assert [sure.over_confidence, sure.ece] == pytest.approx([0.6, 0.6])


def test_bins_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(3)
    confidence = rng.random(1500)
    right = rng.random(1500) < confidence**2
    accuracies, means = calibration_curve(right, confidence, n_bins=15, strategy="quantile")
    bins = reliability(confidence, right)
    assert [each.examples for each in bins] == [100] * 15
    assert [each.confidence for each in bins] == pytest.approx(means)
    assert [each.accuracy for each in bins] == pytest.approx(accuracies)


def test_intervals_cover_a_mean_as_often_as_they_say() -> None:
    rng = np.random.default_rng(4)
    drawn = resamples_of([40, 40])
    assert drawn[:, :40].max() == 39
    assert drawn[:, 40:].min() == 40
    covered = 0
    for _ in range(100):
        values = rng.normal(size=80)
        low, high = middle(values[drawn].mean(axis=1))
        covered += low <= 0 <= high
    assert 86 <= covered <= 100


def test_resamples_are_measured_as_one_by_one() -> None:
    rng = np.random.default_rng(5)
    positive = rng.random(50) < 0.3
    scores = np.round(rng.normal(size=50) + positive, 1)
    drawn = resamples_of([20, 30], 40)
    found, risks = resampled_separation(scores, positive, drawn), resampled_risk(scores, positive, drawn)
    for at, row in enumerate(drawn):
        one = separation_of(scores[row], positive[row])
        assert [each[at] for each in found] == pytest.approx(list(one))
        stable = np.argsort(np.argsort(-scores, kind="stable"))[row]  # of equal scores the first comes first
        assert risks[at] == pytest.approx(area_under_risk(-stable.astype(float), positive[row]))
    only = np.zeros((1, 50), dtype=np.int64) + int(np.flatnonzero(positive)[0])
    assert np.isnan(resampled_separation(scores, positive, only).auroc).all()


@pytest.mark.nightly
def test_the_command_answers_three_questions_and_resumes(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    given = ["analyze", "confidence", "tiny:transfer", "--length", "4,14", "--examples", "24", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = read_analysis(tmp_path / "confidence.json", ConfidenceRecord)
    assert [(each.task, each.length) for each in record.cells] == list(
        itertools.product(("capitalize_reverse", "capitalize", "reverse"), (4, 14))
    )
    assert {each.task for each in record.novelty} == {"capitalize_reverse"}, "of the others both lengths are trained"
    by_length = next(each for each in record.novelty if each.score == "length")
    assert by_length.auroc.value == by_length.aupr.value == 1
    assert {(each.task, each.zone) for each in record.calibration} == {
        ("capitalize_reverse", "in_distribution"),
        ("capitalize_reverse", "transfer"),
        ("capitalize", "in_distribution"),
        ("reverse", "in_distribution"),
    }
    for each in record.selection:
        assert each.auroc.low <= each.auroc.value <= each.auroc.high
        if each.score == "length":
            assert each.auroc.value == 0.5
    assert any(each.task == "capitalize_reverse" and each.length == 14 for each in record.selection)
    assert len(record.frame()) == 6 * 24
    assert len(pd.read_csv(tmp_path / "confidence-calibration.csv")) == 8
    names = {path.name for path in tmp_path.iterdir()}
    assert {"confidence-reliability.svg", "confidence-risk.svg", "confidence-replies.csv"} <= names
    half = record.model_copy(update={"cells": record.cells[:3], "data": record.data[:3], "novelty": ()})
    (tmp_path / "confidence.json").write_text(half.model_dump_json())
    again = CliRunner().invoke(app, given, catch_exceptions=False)
    assert "capitalize, length 4" not in again.stderr
    assert "reverse, length 14" in again.stderr
    assert read_analysis(tmp_path / "confidence.json", ConfidenceRecord) == record
    other = CliRunner().invoke(app, [*given, "--examples", "16"])
    assert "holds another analysis" in str(other.exception)


def test_bad_input_is_refused(tiny: Opened) -> None:
    with pytest.raises(LgbenchError, match="was not trained on 'mqar'"):
        analyze_confidence(tiny, tasks=["mqar"], lengths=[2], examples=16)
