"""The registered experiment on shared and disjoint heads: its runs, its rule, and a tiny one from end to end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

pytest.importorskip("torch")
import scipy.stats
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.data.suites import load_suite
from lgbench.experiments.effects import Outcome, compare
from lgbench.training.record import read_training_record
from lgbench.training.settings import preset_settings
from studies.sharing import CONDITIONS, CONTRASTS, Sharing, SharingEffect

MINI = load_suite("mini-v1")
GROUPS = ("capitalize-reverse", "copy-mqar")


def outcomes(transfer: Sequence[int], *, short: int = 100, auxiliary: int = 100) -> list[Outcome]:
    """Seeds with these percentages of the transfer zone."""
    return [Outcome(Fraction(each, 100), Fraction(short, 100), {"mqar": Fraction(auxiliary, 100)}) for each in transfer]


def judged(shared: Sequence[Outcome], disjoint: Sequence[Outcome]) -> SharingEffect:
    """The heads of the first group; nothing to see elsewhere."""
    equal = outcomes([50] * len(shared))
    given = {(group, condition): equal for group in GROUPS for condition in CONDITIONS}
    given["capitalize-reverse", "shared-heads"] = list(shared)
    given["capitalize-reverse", "disjoint-heads"] = list(disjoint)
    return compare(SharingEffect, given, CONTRASTS, GROUPS)[0]


def test_a_pair_of_conditions_differs_in_nothing_but_what_is_shared(tmp_path: Path) -> None:
    runs = list(Sharing().runs(tmp_path, "cpu"))
    assert len(runs) == len({run.folder for run in runs}) == 4 * 2 * 5
    assert {run.plan.seed for run in runs} == set(range(5))
    assert {run.plan.group for run in runs} == set(GROUPS)
    assert {run.plan.arm for run in runs} == {"transfer"}
    plans = {(run.plan.group, run.extra, run.plan.seed): run.plan for run in runs}
    preset = preset_settings(Sharing.preset, MINI.domain(MINI.group("copy-mqar")), Sharing.changes)
    for (group, condition, seed), plan in plans.items():
        shape, usual = plan.settings.architecture, preset.architecture
        assert shape.size_per_head == usual.size_per_head
        assert (shape.heads, shape.hidden) in [(2 * usual.heads, usual.hidden), (usual.heads, 2 * usual.hidden)]
        undone = {name: getattr(preset, name) for name in ("heads", "hidden", "head_size", "task_heads", "task_units")}
        assert plan.settings.model_copy(update={**undone, "precision": "auto"}) == preset
        if condition.startswith("shared"):
            other = plans[group, condition.replace("shared", "disjoint"), seed].settings
            used = {"task_heads": shape.task_heads, "task_units": shape.task_units}
            assert sorted(used.values()) == ["all", "half"]
            apart = {name: "disjoint" if use == "half" else use for name, use in used.items()}
            assert plan.settings.model_copy(update=apart) == other
    assert {contrast[1:3] for contrast in CONTRASTS} == {
        ("shared-heads", "disjoint-heads"),
        ("shared-units", "disjoint-units"),
    }


@pytest.mark.parametrize(
    ("shared", "disjoint", "verdict"),
    [
        ([98] * 5, [0] * 5, "needed"),  # no seed differs
        ([98, 97, 99, 96, 95], [0, 1, 2, 0, 3], "needed"),
        ([60, 59, 61, 58, 62], [51, 52, 50, 53, 49], "not shown"),  # 9 points: an interval beyond 10
        ([60, 60, 60, 60, 61], [59, 60, 60, 60, 60], "not needed"),
        ([98, 0, 98, 0, 98], [0, 0, 0, 98, 0], "not shown"),  # many points, no p
        ([5, 4, 3, 2, 1], [0] * 5, "not testable"),
        ([20] * 5, [90] * 5, "not shown"),  # no seed differs, so that there is no interval
        ([20, 21, 22, 20, 21], [90, 91, 92, 93, 90], "not needed"),
    ],
)
def test_the_verdict_follows_the_rule(shared: list[int], disjoint: list[int], verdict: str) -> None:
    effect = judged(outcomes(shared), outcomes(disjoint))
    assert effect.verdict == verdict
    assert effect.size == Fraction(sum(shared) - sum(disjoint), 500)
    assert effect.sentence.startswith("capitalize-reverse, heads: ")


@pytest.mark.parametrize(
    ("short", "auxiliary", "words"),
    [
        (89, 100, "with disjoint-heads it has not learned the main task in distribution (89 %)"),
        (100, 50, "with disjoint-heads it has not learned mqar (50 %)"),
    ],
)
def test_what_is_not_learned_shows_nothing(short: int, auxiliary: int, words: str) -> None:
    effect = judged(outcomes([98] * 5), outcomes([0] * 5, short=short, auxiliary=auxiliary))
    assert effect.verdict == "not testable"
    assert effect.sentence == f"capitalize-reverse, heads: not testable, as {words}."


@pytest.mark.parametrize("seed", range(5))
def test_p_and_interval_are_those_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    given = {
        (group, condition): outcomes(rng.integers(0, 101, 5).tolist())
        for group, condition in itertools.product(GROUPS, CONDITIONS)
    }
    effects = compare(SharingEffect, given, CONTRASTS, GROUPS)
    p_values = []
    for each in effects:
        sides = [[float(share) for share in side] for side in (each.higher, each.lower)]
        test = scipy.stats.permutation_test(
            sides, lambda a, b, axis: np.mean(a, axis) - np.mean(b, axis), alternative="greater", n_resamples=1000
        )  # more than there are, so that it takes each once
        p_values.append(test.pvalue)
        interval = scipy.stats.ttest_ind(*sides, equal_var=False).confidence_interval()
        assert each.interval == pytest.approx((max(interval.low, -1), min(interval.high, 1)))
    order = np.argsort(p_values)
    highest = 0.0
    for place, at in enumerate(order):
        highest = max(highest, min(1.0, p_values[at] * (len(effects) - place)))
        assert float(effects[at].p) == pytest.approx(highest)


def test_tests_that_are_still_to_come_count_in_the_correction() -> None:
    key = "capitalize-reverse"
    only = {(key, "shared-heads"): outcomes([98] * 5), (key, "disjoint-heads"): outcomes([0] * 5)}
    (effect,) = compare(SharingEffect, only, CONTRASTS, GROUPS)
    assert effect.p == 4 * Fraction(1, 252)
    assert effect.contrast.what == "heads"


def test_without_an_effect_something_is_called_one_in_at_most_a_twentieth_of_the_experiments() -> None:
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(400):
        draw = {key: outcomes(rng.choice([0, 30, 60, 95], 5).tolist()) for key in itertools.product(GROUPS, CONDITIONS)}
        found += any(each.verdict == "needed" for each in compare(SharingEffect, draw, CONTRASTS, GROUPS))
    assert found / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


TINY = """
from typing import ClassVar
from studies.sharing import Sharing
class Tiny(Sharing):
    preset: ClassVar[str] = "mini"
    changes: ClassVar = ("layers=1", "heads=2", "width=8", "hidden=8", "batch=64", "steps=20", "learning_rate=1e-2")
    groups: ClassVar = ("copy-mqar",)
    seeds: ClassVar = (0,)
"""


@pytest.mark.slow
def test_a_tiny_one_runs_resumes_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny_sharing.py").write_text(TINY)
    given = ["run", "tiny_sharing.py:Tiny", "--output", "runs", "--json"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)["report"]
    assert [each["verdict"] for each in report["effects"]] == ["not testable"] * 2
    assert "has not learned" in report["effects"][0]["unlearned"]
    assert len(report["outcomes"]) == 4
    folders = sorted(Path("runs").glob("copy-mqar-*"))
    assert len(folders) == 4
    uses = {folder.name: read_training_record(folder).plan.settings for folder in folders}
    assert uses["copy-mqar-disjoint-heads-seed0"].task_heads == "disjoint"
    assert (uses["copy-mqar-disjoint-heads-seed0"].heads, uses["copy-mqar-shared-units-seed0"].hidden) == (4, 16)
    kept = {path: path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*.safetensors")}
    shown = json.loads(CliRunner().invoke(app, given).stdout)["report"]
    assert shown == report
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    means = [mean(each[share] for each in report["outcomes"]) for share in ("transfer", "in_distribution")]
    assert max(means) < 0.5, "it has learned nothing"
