"""The registered experiment on the number of heads: its runs, its rule, its tables, and a tiny one from end to end."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
import scipy.stats
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.data.suites import load_suite
from lgbench.experiments.contrasts import Key
from lgbench.experiments.effects import Outcome, compare
from lgbench.training.settings import preset_settings
from lgbench.training.spec import Recipe
from lgbench.util.tables import Table
from studies.heads import CONDITIONS, CONTRASTS, Heads, HeadsEffect

MINI = load_suite("mini-v1")
GROUPS = ("capitalize-reverse", "copy-mqar", "add-carry")
README = Path(__file__).parents[2] / "studies" / "README.md"


def outcomes(transfer: Sequence[int], *, short: int = 100, auxiliary: int = 100) -> list[Outcome]:
    """Seeds with these percentages of the transfer zone."""
    tasks = {"capitalize": Fraction(1), "reverse": Fraction(auxiliary, 100)}
    return [Outcome(Fraction(each, 100), Fraction(short, 100), tasks) for each in transfer]


def judged(fewer: Sequence[Outcome], more: Sequence[Outcome]) -> HeadsEffect:
    """Heads of equal size in the first group; nothing to see elsewhere."""
    given = {(group, condition): outcomes([50] * 5) for group in GROUPS for condition in CONDITIONS}
    given["capitalize-reverse", "2x32"] = list(fewer)
    given["capitalize-reverse", "8x32"] = list(more)
    return compare(HeadsEffect, given, CONTRASTS, GROUPS)[0]


def test_conditions_differ_in_nothing_but_their_heads(tmp_path: Path) -> None:
    runs = list(Heads().runs(tmp_path, "cpu"))
    assert len(runs) == len({run.folder for run in runs}) == len({run.name for run in runs}) == 7 * 3 * 2 * 5
    assert {run.extra for run in runs} == {"1x32", "2x32", "4x32", "8x32", "1x128", "2x64", "8x16"}
    keys = {(run.plan.group, run.extra, run.plan.arm, run.plan.seed) for run in runs}
    assert keys == set(itertools.product(GROUPS, CONDITIONS, ("main_only", "transfer"), range(5)))
    for run in runs:
        preset = preset_settings("tuned", MINI.domain(MINI.group(run.plan.group)))
        shape = run.plan.architecture
        assert run.extra == f"{shape.heads}x{shape.size_per_head}"
        undone = {name: getattr(preset, name) for name in ("heads", "head_size", "precision")}
        assert run.plan.settings.model_copy(update=undone) == preset
        if run.extra == "4x32":
            usual = Recipe(MINI, preset="tuned", device="cpu").plan(run.plan.group, run.plan.arm, run.plan.seed)
            assert run.plan == usual, "it is the preset's run"


def test_all_of_strings_comes_first_and_seed_by_seed(tmp_path: Path) -> None:
    plans = [run.plan for run in Heads().runs(tmp_path, "cpu")]
    assert [plan.group == "add-carry" for plan in plans] == [False] * 140 + [True] * 70
    assert [plan.seed for plan in plans[:140]] == [seed for seed in range(5) for _ in range(28)]
    assert [plan.seed for plan in plans[140:]] == [seed for seed in range(5) for _ in range(14)]


def test_the_contrasts_are_those_of_the_page() -> None:
    assert [contrast[1:3] for contrast in CONTRASTS] == [("2x32", "8x32"), ("2x64", "8x16")]
    page = README.read_text("utf-8").partition("## Number of heads: `heads.py`")[2].partition("\n## ")[0]
    for _, fewer, more, _ in CONTRASTS:
        assert f"`{fewer}` against `{more}`" in page
    rows = [line for line in page.splitlines() if line.startswith("| equal ")]
    named = {cell.strip("` ") for row in rows for cell in row.split("|")[2:-1]}
    assert named == set(CONDITIONS)
    for verdict in (HeadsEffect.shown, HeadsEffect.excluded, "not testable", "not shown"):
        assert f". *{verdict}*: " in page


@pytest.mark.parametrize(
    ("fewer", "more", "verdict"),
    [
        ([98] * 5, [0] * 5, "higher with 2"),  # no seed differs
        ([98, 97, 99, 96, 95], [60, 61, 62, 60, 63], "higher with 2"),
        ([60, 59, 61, 58, 62], [50] * 5, "higher with 2"),  # exactly 10 points
        ([60, 59, 61, 58, 61], [50] * 5, "not shown"),  # just under, with an interval beyond 10
        ([98, 0, 98, 0, 98], [0, 0, 0, 98, 0], "not shown"),  # many points, no p
        ([60, 60, 60, 60, 61], [59, 60, 60, 60, 60], "under 10 points"),
        ([50, 51, 52, 50, 53], [98, 97, 99, 96, 95], "under 10 points"),  # the other way round
        ([50] * 5, [98] * 5, "not shown"),  # no seed differs, so that there is no interval
        ([9, 9, 9, 9, 9], [0, 1, 0, 1, 0], "not testable"),
        ([99, 98, 97, 99, 99], [91, 92, 91, 91, 92], "not testable"),
        ([99, 98, 97, 99, 99], [90, 90, 90, 90, 90], "under 10 points"),  # 90 % is not over 90 %
        ([10, 10, 10, 10, 10], [3, 4, 3, 4, 3], "under 10 points"),  # nor 10 % under 10 %
    ],
)
def test_the_verdict_follows_the_rule(fewer: list[int], more: list[int], verdict: str) -> None:
    effect = judged(outcomes(fewer), outcomes(more))
    assert effect.verdict == verdict
    assert effect.size == Fraction(sum(fewer) - sum(more), 500)
    assert effect.sentence.startswith("capitalize-reverse, 2 heads against 8, equal size: ")


@pytest.mark.parametrize(
    ("fewer", "more", "words"),
    [
        (
            outcomes([98, 97, 99, 96, 95]),
            outcomes([60, 61, 62, 60, 63]),
            "the accuracy in the transfer zone is higher with 2x32 than with 8x32: +35.8 points "
            "(95 % interval +33.7 to +37.9, p 0.024).",
        ),
        (
            outcomes([50, 51, 52, 50, 53]),
            outcomes([98, 97, 99, 96, 95]),
            "the seeds speak against 10 points more with 2x32 than with 8x32: -45.8 points "
            "(95 % interval -47.9 to -43.7, p 1.000).",
        ),
        (
            outcomes([50] * 5),
            outcomes([98] * 5),
            "it is not shown that the accuracy is higher with 2x32 than with 8x32: -48.0 points "
            "(no seed differs from another, p 1.000).",
        ),
        (outcomes([5] * 5), outcomes([0] * 5), "not testable, as 2x32 and 8x32 both have under 10 % of the zone."),
        (outcomes([99] * 5), outcomes([95] * 5), "not testable, as 2x32 and 8x32 both have over 90 % of the zone."),
        (
            outcomes([98] * 5),
            outcomes([0] * 5, short=89),
            "not testable, as with 8x32 it has not learned the main task in distribution (89 %).",
        ),
        (
            outcomes([98] * 5, auxiliary=50),
            outcomes([0] * 5),
            "not testable, as with 2x32 it has not learned reverse (50 %).",
        ),
    ],
)
def test_sentences_say_what_the_verdict_shows(fewer: list[Outcome], more: list[Outcome], words: str) -> None:
    assert judged(fewer, more).sentence == f"capitalize-reverse, 2 heads against 8, equal size: {words}"


def test_six_tests_are_corrected_for_whether_they_are_there_or_not() -> None:
    only = {("copy-mqar", "2x64"): outcomes([98] * 5), ("copy-mqar", "8x16"): outcomes([0] * 5)}
    (effect,) = compare(HeadsEffect, only, CONTRASTS, GROUPS)
    assert (effect.p, effect.contrast, effect.verdict) == (6 * Fraction(1, 252), CONTRASTS[1], "higher with 2")
    more = only | {("copy-mqar", "2x32"): outcomes([97] * 5), ("copy-mqar", "8x32"): outcomes([1] * 5)}
    assert [each.p for each in compare(HeadsEffect, more, CONTRASTS, GROUPS)] == [6 * Fraction(1, 252)] * 2


def test_without_an_effect_something_is_called_one_in_at_most_a_twentieth_of_the_experiments() -> None:
    rng = np.random.default_rng(0)
    named = [condition for contrast in CONTRASTS for condition in contrast[1:]]
    found = 0
    for _ in range(400):
        draw = {key: outcomes(rng.choice([0, 30, 60, 95], 5).tolist()) for key in itertools.product(GROUPS, named)}
        found += any(each.verdict == "higher with 2" for each in compare(HeadsEffect, draw, CONTRASTS, GROUPS))
    assert found / 400 <= 0.05 + 2 * (0.05 * 0.95 / 400) ** 0.5


def test_tables_show_mean_and_range_and_the_gain() -> None:
    def seeds(transfer: Sequence[int], arm: str) -> dict[int, Outcome]:
        tasks = {"capitalize": Fraction(1), "reverse": Fraction(9, 10)} if arm == "transfer" else {}
        mastered = Fraction(1, 2) if tasks else None
        return {
            seed: Outcome(Fraction(each, 100), Fraction(1), tasks, Fraction(seed, 100), mastered)
            for seed, each in enumerate(transfer)
        }

    found = {
        Key("copy-mqar", condition, arm): seeds(transfer, arm)
        for condition, arm, transfer in (
            ("2x32", "main_only", [0, 10]),
            ("2x32", "transfer", [80, 100]),
            ("8x32", "transfer", [50]),
        )
    }
    means, gains = Heads().tables(found)
    assert means.title.startswith("copy-mqar: ")
    assert shown(means) == [
        ("2x32", "main_only", 2, "100 (100 to 100)", None, None, "5.0 (0 to 10.0)", "0.5 (0 to 1.0)"),
        (
            "2x32",
            "transfer",
            2,
            "100 (100 to 100)",
            "90.0 (90.0 to 90.0)",
            "50.0 (50.0 to 50.0)",
            "90.0 (80.0 to 100)",
            "0.5 (0 to 1.0)",
        ),
        (
            "8x32",
            "transfer",
            1,
            "100 (100 to 100)",
            "90.0 (90.0 to 90.0)",
            "50.0 (50.0 to 50.0)",
            "50.0 (50.0 to 50.0)",
            "0 (0 to 0)",
        ),
    ]
    low, high = scipy.stats.ttest_ind([0.8, 1], [0, 0.1], equal_var=False).confidence_interval()
    assert high > 1, "cut to what is possible"
    assert shown(gains) == [("copy-mqar", "2x32", "+85.0", f"{100 * low:+.1f} to +100.0")]


def shown(table: Table) -> list[tuple[Any, ...]]:
    """Its rows, one cell for each column."""
    assert {len(row) for row in table.rows} == {len(table.columns)}
    return [tuple(row) for row in table.rows]


TINY = """
from typing import ClassVar
from studies.heads import CONDITIONS, CONTRASTS, Heads
class Tiny(Heads):
    changes: ClassVar = ("layers=1", "width=8", "hidden=8", "batch=64", "steps=20", "learning_rate=1e-2")
    groups: ClassVar = ("copy-mqar",)
    conditions: ClassVar = {name: CONDITIONS[name] for name in ("2x32", "8x32")}
    seeds: ClassVar = (0,)
"""


@pytest.mark.nightly
@pytest.mark.slow
def test_a_tiny_one_runs_resumes_and_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny_heads.py").write_text(TINY)
    given = ["run", "tiny_heads.py:Tiny", "--output", "runs", "--json"]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)["report"]
    (effect,) = report["effects"]
    assert (effect["higher"], effect["lower"], effect["verdict"]) == ("2x32", "8x32", "not testable")
    assert "has not learned" in effect["unlearned"]
    assert len(report["outcomes"]) == 4
    for each in report["outcomes"]:
        folder = Path("runs", f"copy-mqar-{each['condition']}-{each['arm']}-seed0")
        assert each["transfer"] == by_hand(folder, "string_copy", (10, 12, 14, 16))
        assert each["in_distribution"] == by_hand(folder, "string_copy", (2, 4, 6, 8))
        assert each["beyond"] == by_hand(folder, "string_copy", (18, 20))
        auxiliary = {"mqar": by_hand(folder, "mqar", range(2, 17, 2))} if each["arm"] == "transfer" else {}
        assert each["auxiliaries"] == auxiliary
        assert each["mastered"] == (1 if auxiliary else None)
    kept = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*.safetensors")}
    assert json.loads(CliRunner().invoke(app, given).stdout)["report"] == report
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    printed = CliRunner().invoke(app, given[:-1]).output
    assert "1 of 2 contrasts" in printed


def by_hand(folder: Path, task: str, lengths: Sequence[int]) -> float:
    """The mean accuracy at some lengths, from the bare JSON of a result."""
    cells = json.loads((folder / "result" / "result.json").read_text())["cells"]
    found = [each["counts"] for each in cells if each["task"] == task and each["length"] in lengths]
    assert len(found) == len(lengths)
    return float(sum(Fraction(each["correct"], each["total"]) for each in found) / len(found))
