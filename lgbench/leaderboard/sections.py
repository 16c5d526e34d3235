"""The sections of a system's page: a group with its arms, gains and verdict; the arm `open` with its tasks."""

from __future__ import annotations

from collections.abc import Sequence

from lgbench.data.groups import OPEN_ARM, Group
from lgbench.data.suites import Suite
from lgbench.leaderboard.markdown import (
    EQUAL_SEEDS_NOTE,
    ONE_SEED_NOTE,
    escape,
    estimated,
    folded,
    horizons,
    interval,
    table,
)
from lgbench.leaderboard.pictures import Picture
from lgbench.results.schema import WRONG_ENDS, Result
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.display import NONE, percent
from lgbench.scoring.measures import counts_by_task, zone_lengths
from lgbench.scoring.seen import Verdict, p_text
from lgbench.scoring.systems import OpenScores

_ENDS = (
    "`wrong` counts replies in the transfer zone, over all seeds. Of these, `empty` ones have no text, `early` ones "
    "are right as far as they go but stop too soon, and `late` ones continue after the target."
)


def section_name(suite: Suite, name: str) -> str:
    """The heading of a section; without the colon, and with a hyphen for the space, it is its anchor too."""
    return f"{suite.name}: {name}"


def anchor(suite: Suite, name: str) -> str:
    """The anchor that a renderer of Markdown makes of the heading."""
    return f"{suite.name}-{name}"


def group_section(suite: Suite, scores: GroupScores, verdict: Verdict, picture: Picture) -> list[str]:
    """The results of every arm in a group."""
    group = scores.group
    auxiliaries = " and ".join(f"`{task}`" for task in group.auxiliaries)
    parts = [
        f"### {section_name(suite, group.name)}",
        f"Main task `{group.main}`, trained up to length {group.main_length}. Auxiliary {auxiliaries}, trained up to "
        f"{group.aux_length}, as is the control task `{group.control}`. The lengths between the two are the transfer "
        "zone.",
        _embedded(picture),
        *_verdict(verdict),
        f"Accuracy of `{group.main}` by arm:",
        table([_arm_row(name, arm) for name, arm in scores.arms.items()]),
    ]
    if scores.transfer_gain or scores.control_gain:
        parts += ["Gains in the transfer zone:", table([_gain_row(scores)])]
    estimates = [arm.transfer for arm in scores.arms.values() if arm.transfer]
    if any(each.one_seed for each in estimates):
        parts.append(ONE_SEED_NOTE)
    if any(each.interval is None for each in estimates):
        parts.append(EQUAL_SEEDS_NOTE)
    rows = [
        {"task": task, "arm": name, "seed": seed_text(seed.result)} | _by_length(seed.result, task, group.grid)
        for task in group.tasks
        for name, arm in scores.arms.items()
        for seed in arm.seeds
        if task in group.evaluated_tasks(name)
    ]
    ends = table([_ends_row(name, arm, group) for name, arm in scores.arms.items()])
    return [
        *parts,
        folded("How wrong replies end, and the generalization gap", f"{_ENDS}\n\n{ends}"),
        folded("Accuracy by length, task and seed", table(rows, left=3)),
    ]


def _arm_row(name: str, arm: ArmScores) -> dict[str, str]:
    return {
        "arm": name,
        "seeds": str(len(arm.seeds)),
        "in-distribution": percent(arm.zone("in_distribution")),
        "transfer": estimated(arm.transfer),
        "beyond": percent(arm.zone("beyond")),
        "success rate": percent(arm.success_rate)
        + (f" {interval(arm.success_interval)}" if arm.success_interval else ""),
        "best seed": percent(arm.best_seed),
        "H90 / H50": horizons(arm.horizon_90, arm.horizon_50),
    }


def _ends_row(name: str, arm: ArmScores, group: Group) -> dict[str, str]:
    results = [seed.result for seed in arm.seeds]
    ends = _ends(results, group.main, group.zone_lengths("transfer"))
    return {"arm": name, **ends, "generalization gap": percent(arm.gap)}


def _ends(results: Sequence[Result], task: str, lengths: Sequence[int]) -> dict[str, str]:
    """The numbers of wrong replies to a task at these lengths, and of empty, early and late ones among them."""
    counts = [counts_by_task(result)[task][length] for result in results for length in lengths]
    total, correct = sum(each.total for each in counts), sum(each.correct for each in counts)
    ends = {name: f"{sum(getattr(each, name) for each in counts):,}" for name in WRONG_ENDS}
    return {"wrong": f"{total - correct:,} of {total:,}"} | ends


def _gain_row(scores: GroupScores) -> dict[str, str]:
    over_short_aux = scores.gain_over("short_aux")
    return {
        "transfer gain": estimated(scores.transfer_gain, signed=True),
        "control gain": estimated(scores.control_gain, signed=True),
        "gain over control": estimated(scores.gain_over("control"), signed=True),
        **({"gain over short_aux": estimated(over_short_aux, signed=True)} if over_short_aux else {}),
        "recovered share": percent(scores.recovered_share),
    }


def _verdict(verdict: Verdict) -> list[str]:
    """Whether transfer was seen, with the p of each gain, and a list of caveats."""
    contrasts = verdict.contrasts if verdict.word != "too few seeds" else ()  # whose p says nothing
    p_values = [f"{p_text(each.p)} over `{each.baseline}`" for each in contrasts]
    if verdict.corrected_p is not None and verdict.tests > 1:
        p_values.append(f"{p_text(verdict.corrected_p)} after Holm's correction for {verdict.tests} groups")
    evidence = f" ({', '.join(p_values)})" if p_values else ""
    caveats = [f"- {each}" for each in (verdict.reason, *verdict.caveats) if each]
    return [f"Verdict: **{verdict.word}**{evidence}.", *(["\n".join(caveats)] if caveats else [])]


def open_section(suite: Suite, scores: OpenScores, picture: Picture) -> list[str]:
    """The results of a system of arm `open` on every task."""
    lengths = sorted({length for task in suite.tasks for length in suite.grid(task.name)})
    of_tasks = [
        {"task": task.name, "H90 / H50": horizons(scores.horizons_90[task.name], scores.horizons_50[task.name])}
        | _ends(scores.results, task.name, zone_lengths(suite, task.name, "transfer", None))
        for task in suite.tasks
    ]
    rows = [
        {"task": task.name, "seed": seed_text(result)} | _by_length(result, task.name, lengths)
        for task in suite.tasks
        for result in scores.results
    ]
    return [
        f"### {section_name(suite, OPEN_ARM)}",
        f"Not trained under an arm. Open score: "
        f"{estimated(scores.score, of=len(suite.main_tasks), mark_one_seed=False)}{_over(scores)}.",
        *dict.fromkeys(f"Asked in {escape(str(each.system.prompt))}." for each in scores.results if each.system.prompt),
        _embedded(picture),
        f"{_ENDS.replace(', over all seeds', '') if len(scores.results) == 1 else _ENDS}",
        table(of_tasks),
        folded("Accuracy by length, task and seed", table(rows, left=2)),
    ]


def _over(scores: OpenScores) -> str:
    """What the interval of the open score includes."""
    seeds = len(scores.results)
    return f", over {seeds} seeds" if seeds > 1 else ", the interval over examples alone"


def _embedded(picture: Picture) -> str:
    return f"![{picture.text}]({picture.path})"


def _by_length(result: Result, task: str, lengths: Sequence[int]) -> dict[str, str]:
    """A column for each length, empty where the task has no cell."""
    counts = counts_by_task(result)[task]
    return {str(length): percent(counts[length].accuracy) if length in counts else "" for length in lengths}


def seed_text(result: Result) -> str:
    """The seed of a run."""
    return NONE if result.seed is None else str(result.seed)
