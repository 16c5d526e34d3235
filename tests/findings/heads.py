"""The tables and the picture of docs/finding-heads.md, from studies/records and the submitted replies."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy.stats import spearmanr

from lgbench.analysis.errors import analyze_errors
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.evaluation.rescoring import rescore_result
from lgbench.experiments.contrasts import learned
from lgbench.experiments.effects import Outcome, compare
from lgbench.results.schema import Result
from lgbench.scoring.significance import holm, permutation_p
from lgbench.util.records import read_record
from studies.sharing import CONDITIONS, CONTRASTS, Sharing, SharingEffect
from tests.findings.rows import ROOT, effect_cells, row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = ROOT / "docs" / "finding-heads.md"
PICTURE = ROOT / "docs" / "sharing.svg"
MECHANISM = ROOT / "studies" / "records" / "mechanism"
SHARING = ROOT / "studies" / "records" / "sharing"
GROUPS = ("copy-mqar", "capitalize-reverse")
ARMS = ("transfer", "short_aux", "control")
_PARTS = 256 * 8 * 2
"""A distance is a multiple of one by this: of 256 examples, over 8 heads and at most 2 other tasks."""


def tables() -> dict[str, list[str]]:
    """The lines of each generated part of the page, by its name."""
    return {
        "distances": [_distances_row(group, arm) for group in GROUPS for arm in ARMS],
        "distance tests": [_test_row(*each) for each in distance_tests()],
        "reuse": reuse_rows(),
        "points": point_rows(),
        "sources": source_rows(),
        "sharing": [_sharing_row(group, condition) for group in GROUPS for condition in CONDITIONS],
        "effects": [row(f"`{each.group}`", each.contrast.what, *effect_cells(each)) for each in effects()],
        "jumps": jump_rows(),
        "pairs": pair_rows(),
        "confidence": confidence_rows(),
    }


@cache
def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(MECHANISM / f"{name}.csv")


def distances(group: str, arm: str) -> list[float]:
    """The paper's distance of each seed: the mean over the other tasks, by `mean` ablation in exact match."""
    table = _read("distances")
    rows = table[(table["group"] == group) & (table["arm"] == arm) & (table["measure"] == "ablation")]
    rows = rows[(rows["ablation"] == "mean") & (rows["metric"] == "exact")]
    return [float(each) for each in rows.groupby("seed")["distance"].mean()]


def zone(group: str, arm: str) -> list[float]:
    """The main task's accuracy in the transfer zone of each seed of `reference-tuned`, from the board's cells."""
    cells = pd.read_csv(ROOT / "leaderboard" / "cells.csv")
    rows = cells[(cells["system"] == "reference-tuned") & (cells["group"] == group) & (cells["arm"] == arm)]
    rows = rows[(rows["task"] == load_suite("mini-v1").group(group).main) & (rows["zone"] == "transfer")]
    counts = rows.groupby("seed")[["correct", "total"]].sum()
    return [float(each) for each in counts["correct"] / counts["total"]]


def distance_tests() -> list[tuple[str, str, float, Fraction]]:
    """Group, the arm that is compared with `transfer`, difference of the mean distances, p after Holm's correction."""
    pairs = [(group, arm) for group in GROUPS for arm in ("control", "short_aux")]
    found, p_values = [], []
    for group, arm in pairs:
        with_transfer, without = (
            [Fraction(round(each * _PARTS), _PARTS) for each in distances(group, name)] for name in ("transfer", arm)
        )
        p_values.append(permutation_p(without, with_transfer))
        found.append(float(mean(with_transfer) - mean(without)))
    return [(*pair, size, p) for pair, size, p in zip(pairs, found, holm(p_values), strict=True)]


def _distances_row(group: str, arm: str) -> str:
    found = distances(group, arm)
    seeds = ", ".join(f"{each:.3f}" for each in found)
    accuracies = ", ".join(f"{100 * each:.0f}" for each in zone(group, arm))
    return row(f"`{group}`", f"`{arm}`", f"{mean(found):.3f}", seeds, accuracies)


def _test_row(group: str, arm: str, size: float, p: Fraction) -> str:
    verdict = "lower with transfer" if p <= Fraction(1, 20) else "not shown"
    return row(f"`{group}`", f"`{arm}`", f"{size:+.3f}", f"{float(p):.3f}", verdict)


def reuse_rows() -> list[str]:
    """For each other task: the rank correlation and the interchange score, the median of the seeds with their range."""
    table = _read("reuse")
    rows = []
    for group in GROUPS:
        for arm in ARMS:
            part = table[(table["group"] == group) & (table["arm"] == arm)]
            for other in dict.fromkeys(part["other"]):
                tests = part[part["other"] == other].groupby("test")["observed"]
                shown = [_spread(tests, name) for name in ("rank correlation", "interchange")]
                rows.append(row(f"`{group}`", f"`{arm}`", f"`{other}`", *shown))
    return rows


def _spread(tests: Any, name: str) -> str:
    if name not in tests.groups or (found := tests.get_group(name).dropna()).empty:
        return "-"
    return f"{found.median():.2f} ({found.min():.2f} to {found.max():.2f})"


def point_rows() -> list[str]:
    """Spearman's correlation of the measures with the generalization gap over the points of a run, and over changes."""
    rows = []
    for (group, arm, other), part in _read("points").groupby(["group", "arm", "task"], sort=False):
        shown = []
        for measure in ("ablation_exact", "attention"):
            values, gaps = part[measure], part["gap"]
            if values.isna().any():
                shown += ["-", "-"]
            else:
                pairs = ((values, gaps), (values.diff().dropna(), gaps.diff().dropna()))
                shown += [f"{spearmanr(*pair).statistic:+.2f}" for pair in pairs]
        learned = f"{int(part['learned'].sum())} of {len(part)}"
        rows.append(row(f"`{group}`", f"`{arm}`", f"`{other}`", learned, *shown))
    return rows


def source_rows() -> list[str]:
    """The share of attention on the source of the main task's best head, in %, the mean over seeds."""
    table = _read("sources")
    rows = []
    for group in GROUPS:
        for arm in ("transfer", "short_aux", "control", "main_only"):
            part = table[(table["group"] == group) & (table["arm"] == arm)]
            part = part[part["task"] == load_suite("mini-v1").group(group).main]
            means = part.groupby(["positions", "length"])["share"].mean()
            shown = [
                means[at] for at in (("inside", 8), ("inside", 12), ("beyond", 12), ("inside", 16), ("beyond", 16))
            ]
            rows.append(row(f"`{group}`", f"`{arm}`", *(f"{100 * each:.0f}" for each in shown)))
    return rows


@cache
def outcomes() -> Mapping[tuple[str, str], tuple[Outcome, ...]]:
    """What the runs of `studies/sharing.py` have learned, by group and condition, in the order of their seeds."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    for run in Sharing().runs(SHARING, "cpu"):
        found.setdefault((run.plan.group, run.extra), []).append(learned(run))
    return {key: tuple(each) for key, each in found.items()}


def effects() -> list[SharingEffect]:
    """The registered tests."""
    return compare(SharingEffect, outcomes(), CONTRASTS, Sharing.groups)


def _sharing_row(group: str, condition: str) -> str:
    seeds = outcomes()[group, condition]
    others = {task: mean(each.auxiliaries[task] for each in seeds) for task in seeds[0].auxiliaries}
    beyond = [each.beyond for each in seeds if each.beyond is not None]
    means = [mean(each.in_distribution for each in seeds), min(others.values()), mean(each.transfer for each in seeds)]
    shown = [f"{100 * float(each):.1f}" for each in means]
    each_seed = ", ".join(f"{100 * float(each.transfer):.0f}" for each in seeds)
    return row(f"`{group}`", f"`{condition}`", *shown, each_seed, f"{100 * float(mean(beyond)):.1f}")


def _submitted(system: str, arm: str) -> dict[Path, Result]:
    folders = sorted((ROOT / "submissions" / system).glob(f"mini-v1-copy-mqar-{arm}-seed*"))
    return {folder: read_record(folder / "result.json", Result) for folder in folders}


def jump_rows() -> list[str]:
    """Wrong copies in the transfer zone that go on with what follows the other occurrence of a repeated letter."""
    rows = []
    for system in ("reference-tuned", "reference-rope"):
        for arm in ("transfer", "main_only", "control", "short_aux"):
            if not (results := _submitted(system, arm)):
                continue
            cells = analyze_errors(results, tasks=["string_copy"]).frame()
            cells = cells[cells["zone"] == "transfer"]
            wrong = int((cells["total"] - cells["correct"]).sum())
            behind, jumps = int(cells["behind_repeat"].sum()), int(cells["jump"].sum())
            rows.append(row(f"`{system}`", f"`{arm}`", wrong, behind, jumps, f"{100 * jumps / behind:.0f}"))
    return rows


def pair_rows() -> list[str]:
    """Copies of the transfer zone that are right, by what the string repeats."""
    suite = load_suite("mini-v1")
    rows = []
    for system in ("reference-tuned", "reference-rope"):
        right: dict[str, list[bool]] = {"nothing": [], "a letter": [], "a pair": []}
        for folder, result in _submitted(system, "transfer").items():
            replies = rescore_result(result, folder)[1]
            for cell in suite.cells(groups=["copy-mqar"]):
                if cell.task == "string_copy" and suite.group("copy-mqar").zone(cell.length) == "transfer":
                    for each in draw_cell(suite, *cell, split="test"):
                        right[repeats(each.target)].append(each.id not in replies)
        shown = [f"{sum(each)} of {len(each)} ({100 * sum(each) / len(each):.0f} %)" for each in right.values()]
        rows.append(row(f"`{system}`", *shown))
    return rows


def repeats(text: str) -> str:
    """What a string has more than once: `a pair` of neighbouring letters, else `a letter`, else `nothing`."""
    pairs = list(pairwise(text))
    if len(set(pairs)) < len(pairs):
        return "a pair"
    return "a letter" if len(set(text)) < len(text) else "nothing"


def confidence_rows() -> list[str]:
    """Accuracy, confidence, ECE by zone and the AUROC within cells, each the mean over seeds."""
    table = _read("confidence")
    rows = []
    for group in GROUPS:
        for arm in ("transfer", "main_only"):
            for name in ("in_distribution", "transfer", "beyond"):
                part = table[(table["group"] == group) & (table["arm"] == arm) & (table["zone"] == name)]
                shown = [f"{100 * part[column].mean():.1f}" for column in ("accuracy", "confidence")]
                areas = part["auroc"].dropna()
                area = f"{areas.mean():.2f} ({len(areas)} seeds)" if len(areas) else "-"
                rows.append(row(f"`{group}`", f"`{arm}`", name.replace("_", " "), *shown, area))
    return rows


def figure() -> Figure:
    """The transfer zone's accuracy of every seed under the four conditions of `studies/sharing.py`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    from lgbench.plotting.canvas import STYLE

    with mpl.rc_context(STYLE):
        drawn = Figure(figsize=(7.2, 2.8), layout="constrained")
        for axes, group in zip(drawn.subplots(1, 2, sharey=True), GROUPS, strict=True):
            for place, condition in enumerate(CONDITIONS):
                found = [100 * float(each.transfer) for each in outcomes()[group, condition]]
                color = "tab:blue" if condition.startswith("shared") else "tab:orange"
                across = [place + 0.08 * (number - (len(found) - 1) / 2) for number in range(len(found))]
                axes.plot(across, found, "o", color=color, markersize=5, alpha=0.8, clip_on=False)
                axes.plot([place - 0.3, place + 0.3], [mean(found)] * 2, color=color)
            axes.set_xticks(range(len(CONDITIONS)), [each.replace("-", "\n") for each in CONDITIONS])
            axes.set_title(group, fontsize=9)
            axes.set_ylim(0, 100)
        drawn.axes[0].set_ylabel("transfer zone, % right")
    return drawn
