"""The arms of a group side by side: tables and lines for people, a record for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from statistics import mean
from typing import Any

from lgbench.data.groups import ZONES, Group
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.display import percent, points, points_between
from lgbench.scoring.estimates import Estimate
from lgbench.scoring.measures import SUCCESS, counts_by_task
from lgbench.scoring.seen import Verdict, p_text
from lgbench.scoring.systems import TrainedScores
from lgbench.util.tables import Curve, Table


def comparison_parts(scores: TrainedScores, *, names: Sequence[str] = ()) -> list[Table | str]:
    """The verdict on each group with the gains that it rests on, then for each its tasks by length, zones, other gains.

    Args:
        scores: The scored runs.
        names: The groups to show; empty for all.
    """
    # A run that several groups share is listed under the first of them.
    shown = [group for group in scores.groups if group.group.name in names] or list(scores.groups)
    parts: list[Table | str] = []
    if scores.suite.draft is not None:
        parts += [f"{scores.suite.name} is a draft suite: no result of it counts on the leaderboard.", ""]
    lines = [line for group in shown for line in verdict_lines(group.group.name, scores.verdicts[group.group.name])]
    parts += ["Was transfer seen?", *lines, ""] if lines else []
    for number, group in enumerate(shown):
        parts += [""] if number else []
        parts.append(_by_length(group))
        if (others := _others_by_length(group)).rows:
            parts.append(others)
        parts += [_by_zone(group), *_gains(group)]
    return parts


def _by_length(scores: GroupScores) -> Table:
    group, rows = scores.group, list[Sequence[object]]()
    for name, arm in scores.arms.items():
        lengths = _accuracies(arm, group.main)
        means = [mean(seeds) for seeds in lengths]
        rows.append((name, *map(percent, means), Curve(means)))
        if len(arm.seeds) > 1:
            rows.append(("  lowest", *(percent(min(seeds)) for seeds in lengths), ""))
            rows.append(("  highest", *(percent(max(seeds)) for seeds in lengths), ""))
    title = f"{group.name}: {group.main} by length, exact match in %, mean over seeds"
    return Table(title, ("arm", *map(str, group.grid), "curve"), rows)


def _others_by_length(scores: GroupScores) -> Table:
    """A row for each arm and task other than the main task: whether there was anything that could transfer."""
    group, rows = scores.group, list[Sequence[object]]()
    for name, arm in scores.arms.items():
        for task in arm.others:
            means = [mean(seeds) for seeds in _accuracies(arm, task)]
            rows.append((name, task, *map(percent, means), Curve(means)))
    what = f"auxiliary and control tasks by length (trained to {group.aux_length})"
    title = f"{group.name}: {what}, exact match in %, mean over seeds"
    return Table(title, ("arm", "task", *map(str, group.grid), "curve"), rows, text=2)


def _accuracies(arm: ArmScores, task: str) -> list[list[Fraction]]:
    """For each length the accuracies of the seeds."""
    seeds = [counts_by_task(seed.result)[task] for seed in arm.seeds]
    return [[seed[length].accuracy for seed in seeds] for length in sorted(seeds[0])]


def _by_zone(scores: GroupScores) -> Table:
    group, rows = scores.group, list[Sequence[object]]()
    for name, arm in scores.arms.items():
        shares = [*(arm.zone(zone) for zone in ZONES), arm.success_rate, arm.best_seed]
        horizon = None if arm.horizon_90 is None else str(arm.horizon_90)
        rows.append((name, str(len(arm.seeds)), *map(percent, shares), horizon, percent(arm.gap)))
    trained = f"(trained to {group.main_length}, auxiliaries to {group.aux_length})"
    title = f"{group.name}: {group.main} by zone {trained}, in %"
    return Table(title, ("arm", "seeds", "in-dist.", "transfer", "beyond", "success", "best", "H90", "gap"), rows)


def _gains(scores: GroupScores) -> list[str]:
    """The gains that the verdict does not rest on, and what arms leave open whose seeds are all equal."""
    titles = {"control": "Control gain"}
    others = [each for each in scores.gains if (each.arm, each.baseline) != ("transfer", "main_only")]
    lines = [f"{titles.get(arm, f'Gain of {arm}')} ({arm} - {base}): {_points(gain)}" for arm, base, gain in others]
    if scores.recovered_share is not None:
        lines.append(f"Recovered share of what direct training gains: {percent(scores.recovered_share)} %")
    return lines + [_passed(name, arm) for name, arm in scores.arms.items() if _seeds_are_equal(arm)]


def _points(gain: Estimate, *notes: str) -> str:
    """A gain with its interval, and what else stands in the brackets."""
    if gain.interval is None:
        about = "no interval: in each arm all seeds are equal"
    else:
        about = points_between(*gain.interval) + (", one seed: over examples alone" if gain.one_seed else "")
    return f"{points(gain.value)} points ({', '.join([about, *notes])})"


def _seeds_are_equal(arm: ArmScores) -> bool:
    return arm.transfer is not None and arm.transfer.interval is None


def _passed(name: str, arm: ArmScores) -> str:
    """What an arm whose seeds all have the same accuracy says of further seeds."""
    seeds, passed = len(arm.seeds), sum(accuracy >= SUCCESS for accuracy in arm.accuracies)
    low, high = (percent(bound) for bound in arm.success_interval or (None, None))
    reach = f"{passed} of {seeds} reach {100 * SUCCESS} %"
    return f"{name}: all {seeds} seeds are equal; {reach}, so {low} to {high} % of all seeds may"


def comparison_record(scores: TrainedScores) -> list[dict[str, Any]]:
    """The content of `--json`: each group. Accuracies are shares from 0 to 1; null where there is none."""
    return [
        {
            "suite": scores.suite.name,
            "draft": scores.suite.draft is not None,
            "group": group.group.name,
            "main": group.group.main,
            "arms": {name: _arm_record(arm, group.group) for name, arm in group.arms.items()},
            "transfer_gain": _estimate_record(group.transfer_gain),
            "control_gain": _estimate_record(group.control_gain),
            "gain_over_control": _estimate_record(group.gain_over("control")),
            "gain_over_short_aux": _estimate_record(group.gain_over("short_aux")),
            "gains": [
                {"arm": gain.arm, "baseline": gain.baseline} | (_estimate_record(gain.estimate) or {})
                for gain in group.gains
            ],
            "recovered_share": _share(group.recovered_share),
            "verdict": _verdict_record(scores.verdicts[group.group.name]),
        }
        for group in scores.groups
    ]


def _arm_record(arm: ArmScores, group: Group) -> dict[str, Any]:
    return {
        "seeds": [seed.result.seed for seed in arm.seeds],
        "zones": {zone: _share(arm.zone(zone)) for zone in ZONES},
        "transfer": _estimate_record(arm.transfer),
        "success_rate": _share(arm.success_rate),
        "success_interval": None if arm.success_interval is None else [*arm.success_interval],
        "best_seed": _share(arm.best_seed),
        "horizon_90": None if arm.horizon_90 is None else arm.horizon_90.length,
        "gap": _share(arm.gap),
        "lengths": _lengths_record(arm, group, group.main),
        "others": {
            task: {"trained_accuracy": _share(share), "lengths": _lengths_record(arm, group, task)}
            for task, share in arm.others.items()
        },
    }


def _lengths_record(arm: ArmScores, group: Group, task: str) -> list[dict[str, Any]]:
    by_length = zip(group.grid, _accuracies(arm, task), strict=True)
    return [{"length": length, "by_seed": [float(share) for share in shares]} for length, shares in by_length]


def _estimate_record(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    interval = None if estimate.interval is None else [*estimate.interval]
    return {"value": float(estimate.value), "interval": interval, "one_seed": estimate.one_seed}


def _verdict_record(verdict: Verdict) -> dict[str, Any]:
    return {
        "word": verdict.word,
        "reason": verdict.reason or None,
        "caveats": list(verdict.caveats),
        "p": {contrast.baseline: float(contrast.p) for contrast in verdict.contrasts},
        "corrected_p": None if verdict.corrected_p is None else float(verdict.corrected_p),
        "tests": verdict.tests,
    }


def _share(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def verdict_lines(group: str, verdict: Verdict) -> list[str]:
    """A verdict in a line, and below it what it rests on and what a reader should know."""
    shows_p = verdict.word != "too few seeds"  # whose p says nothing
    gains = []
    for each in verdict.contrasts:
        gains.append(f"over {each.baseline}: {_points(each.gain, *([p_text(each.p)] if shows_p else []))}")
    if verdict.corrected_p is not None and verdict.tests > 1:
        gains.append(f"{p_text(verdict.corrected_p)} after Holm's correction for {verdict.tests} groups")
    below = [*gains, verdict.reason, *verdict.caveats]
    return [f"{group}: {verdict.word}", *(f"  {line}" for line in below if line)]
