"""The arms of a group side by side: tables and lines for people, a record for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from statistics import mean
from typing import Any

from lgbench.data.groups import ZONES, Group
from lgbench.scoring.comparison import SUCCESS, ArmScores, Estimate, GroupScores
from lgbench.scoring.display import percent, points
from lgbench.scoring.measures import counts_by_task
from lgbench.scoring.systems import TrainedScores
from lgbench.util.tables import Curve, Table


def comparison_parts(scores: TrainedScores, *, names: Sequence[str] = ()) -> list[Table | str]:
    """For each group its tasks by length, its zones and gains, and last whether transfer was seen.

    Args:
        scores: The scored runs.
        names: The groups to show; empty for all.
    """
    # A run that several groups share is listed under the first of them.
    shown = [group for group in scores.groups if group.group.name in names] or list(scores.groups)
    parts: list[Table | str] = []
    if scores.suite.draft is not None:
        parts += [f"{scores.suite.name} is a draft suite: no result of it counts on the leaderboard.", ""]
    for group in shown:
        parts.append(_by_length(group))
        if (others := _others_by_length(group)).rows:
            parts.append(others)
        parts += [_by_zone(group), *_gains(group), ""]
    return parts + [verdict(group) for group in shown]


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
    titles = {"transfer": "Transfer gain", "control": "Control gain"}
    own = [(f"{titles.get(arm, f'Gain of {arm}')} ({arm} - {base})", gain) for arm, base, gain in scores.gains]
    over = [
        ("Gain over the control (transfer - control)", scores.gain_over_control),
        ("Gain over the short auxiliaries (transfer - short_aux)", scores.gain_over_short_aux),
    ]
    lines = [f"{name}: {_points(gain)}" for name, gain in (*own, *over) if gain is not None]
    if scores.recovered_share is not None:
        lines.append(f"Recovered share of what direct training gains: {percent(scores.recovered_share)} %")
    return lines


def _points(gain: Estimate) -> str:
    low, high = map(points, gain.interval)
    return f"{points(gain.value)} points (95 % interval {low} to {high})"


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
            "gain_over_control": _estimate_record(group.gain_over_control),
            "gain_over_short_aux": _estimate_record(group.gain_over_short_aux),
            "gains": [
                {"arm": gain.arm, "baseline": gain.baseline} | (_estimate_record(gain.estimate) or {})
                for gain in group.gains
            ],
            "recovered_share": _share(group.recovered_share),
            "transfer_seen": group.transfer_seen,
        }
        for group in scores.groups
    ]


def _arm_record(arm: ArmScores, group: Group) -> dict[str, Any]:
    return {
        "seeds": [seed.result.seed for seed in arm.seeds],
        "zones": {zone: _share(arm.zone(zone)) for zone in ZONES},
        "transfer": _estimate_record(arm.transfer),
        "success_rate": _share(arm.success_rate),
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
    return {"value": float(estimate.value), "interval": [*estimate.interval], "one_seed": estimate.one_seed}


def _share(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def verdict(scores: GroupScores) -> str:
    """Whether transfer was seen, in a sentence."""
    name, gain, over_control = scores.group.name, scores.transfer_gain, scores.gain_over_control
    if gain is None:
        return f"{name}: not decided, as it needs runs of both transfer and main_only."
    seen = scores.transfer_seen
    gained = f"{_points(gain)} over main_only"
    if over_control is not None:
        gained += f", {_points(over_control)} over the control"
    if scores.gain_over_short_aux is not None:
        gained += f", {_points(scores.gain_over_short_aux)} over short_aux"
    if over_control is None and scores.gain_over_short_aux is None and seen:
        gained += "; no control ran, so length alone may be why"
    if not seen and (missing := _not_learned(scores)):
        gained += f"; but {', and '.join(missing)}"
    baseline = scores.arms["main_only"].zone("in_distribution")
    if baseline is not None and baseline < SUCCESS:
        lacking = _lacking("the main task", baseline, "in distribution under main_only")
        gained += f"; {lacking}, so the gain over it says less"
    for missing_control in _others_not_learned(scores, "control", "the control task"):
        gained += f"; {missing_control}, so the gain over the control says less"
    if any(each is not None and each.one_seed for each in (gain, over_control, scores.gain_over_short_aux)):
        gained += "; some arm has one seed, so the intervals leave out how its seeds differ"
    return f"{name}: transfer was {'' if seen else 'not '}seen: {gained}."


def _not_learned(scores: GroupScores) -> list[str]:
    """What the arm `transfer` did not learn, which may be why no transfer was seen; a clause for each task."""
    learned = scores.arms["transfer"].zone("in_distribution")
    of_main = [] if learned is None or learned >= SUCCESS else [_lacking("the main task", learned, "in distribution")]
    return of_main + _others_not_learned(scores, "transfer", "the auxiliary")


def _others_not_learned(scores: GroupScores, arm: str, kind: str) -> list[str]:
    if arm not in scores.arms:
        return []
    where = f"up to its training length {scores.group.aux_length}"
    others = scores.arms[arm].others.items()
    return [_lacking(f"{kind} {task}", share, where) for task, share in others if share is not None and share < SUCCESS]


def _lacking(what: str, share: Fraction, where: str) -> str:
    return f"{what} was not learned, with {percent(share)} % {where}"
