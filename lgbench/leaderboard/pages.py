"""One page for each system: who made it, what every arm did in every group, and every accuracy by length."""

from __future__ import annotations

import html
from collections.abc import Sequence

from lgbench.data.groups import Group
from lgbench.data.suites import Suite
from lgbench.leaderboard.markdown import (
    EQUAL_SEEDS_NOTE,
    GENERATED,
    ONE_SEED_NOTE,
    count_range,
    escape,
    estimated,
    horizons,
    interval,
    table,
)
from lgbench.leaderboard.pictures import Picture, group_picture, open_picture
from lgbench.leaderboard.scored import SuiteScores
from lgbench.results.schema import WRONG_ENDS, Result
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.display import NONE, percent
from lgbench.scoring.measures import counts_by_task, wilson_interval, zone_lengths
from lgbench.scoring.seen import Verdict, p_text
from lgbench.scoring.systems import OpenScores
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.system import SystemRecord
from lgbench.submissions.tiers import Standing

_ENDS = (
    "`wrong` counts replies in the transfer zone, over all seeds. Of these, `empty` ones hold nothing, `early` ones "
    "stop within their target, right as far as they go, and `late` ones go on after it."
)


def system_page(submission: Submission, scores: Sequence[SuiteScores]) -> str:
    """The text of `leaderboard/systems/NAME.md`.

    Args:
        submission: The system and its runs.
        scores: Its scores, by suite.
    """
    system = submission.system
    parts = [GENERATED, f"# {system.name}", escape(system.description), _facts(submission)]
    for each in scores:
        parts += [f"## {each.suite.name}", _precision(each.suite)]
        if each.trained:
            parts.append(_standing(each.standing))
            for group in each.trained.groups:
                verdict = each.trained.verdicts[group.group.name]
                parts += _group_section(group, verdict, group_picture(system, each.suite, group))
        if each.untrained:
            parts += _open_section(each.suite, each.untrained, open_picture(system, each.suite, each.untrained))
    return "\n\n".join([*parts, *_runs_section(submission)]) + "\n"


def _facts(submission: Submission) -> str:
    system = submission.system
    facts = [
        f"By {', '.join(map(escape, system.authors))}.",
        f"Licence: {escape(system.licence)}.",
        f"Parameters: {count_range(submission.parameters, none='unknown')}.",
    ]
    if system.link:
        facts.append(f"[{escape(system.link)}](<{html.escape(system.link)}>)")
    if notes := [escape(line) for line in system.training_notes.splitlines() if line.strip()]:
        facts.append(f"Training: {'<br>'.join(notes)}")
    return "\n".join(f"- {fact}" for fact in facts)


def _standing(standing: Standing) -> str:
    """Division, tier, and what keeps the system from the next tier."""
    missing = [f"- {escape(each)}" for each in standing.missing]
    told = f"Division: {standing.division}. [Tier](../../docs/rules.md#tiers): **{standing.tier}**."
    return f"{told} For the next one:\n\n" + "\n".join(missing) if missing else told


def _precision(suite: Suite) -> str:
    size = suite.examples_per_cell
    low, high = wilson_interval(size // 2, size)
    return (
        f"Accuracies are exact match in %. An accuracy at one length is over {size} examples; its 95 % Wilson interval "
        f"spans {100 * (high - low):.1f} points at 50 %, and less elsewhere.\n\n{_ENDS}"
    )


def _group_section(scores: GroupScores, verdict: Verdict, picture: Picture) -> list[str]:
    group = scores.group
    auxiliaries = " and ".join(f"`{task}`" for task in group.auxiliaries)
    parts = [
        f"### {group.name}",
        f"Main task `{group.main}`, trained to length {group.main_length}; auxiliary {auxiliaries}, control "
        f"`{group.control}`, trained to {group.aux_length}. The transfer zone lies between the two lengths.",
        _embedded(picture),
        table([_arm_row(name, arm) | _arm_ends(arm, group) for name, arm in scores.arms.items()]),
    ]
    if scores.transfer_gain or scores.control_gain:
        parts.append(table([_gain_row(scores)]))
    estimates = [arm.transfer for arm in scores.arms.values() if arm.transfer]
    if any(each.one_seed for each in estimates):
        parts.append(ONE_SEED_NOTE)
    if any(each.interval is None for each in estimates):
        parts.append(EQUAL_SEEDS_NOTE)
    parts += _verdict(verdict)
    rows = [
        {"task": task, "arm": name, "seed": _seed(seed.result)} | _by_length(seed.result, task, group.grid)
        for task in group.tasks
        for name, arm in scores.arms.items()
        for seed in arm.seeds
        if task in group.evaluated_tasks(name)
    ]
    return [*parts, table(rows, left=3)]


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
        "generalization gap": percent(arm.gap),
    }


def _arm_ends(arm: ArmScores, group: Group) -> dict[str, str]:
    return _ends([seed.result for seed in arm.seeds], group.main, group.zone_lengths("transfer"))


def _ends(results: Sequence[Result], task: str, lengths: Sequence[int]) -> dict[str, str]:
    """How many replies to a task at these lengths are wrong, and of these empty, early and late."""
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
    """Whether transfer was seen, with the p of each gain, and a list of what to know beside it."""
    contrasts = verdict.contrasts if verdict.word != "too few seeds" else ()  # whose p says nothing
    p_values = [f"{p_text(each.p)} over `{each.baseline}`" for each in contrasts]
    if verdict.corrected_p is not None and verdict.tests > 1:
        p_values.append(f"{p_text(verdict.corrected_p)} after Holm's correction for {verdict.tests} groups")
    evidence = f" ({', '.join(p_values)})" if p_values else ""
    caveats = [f"- {each}" for each in (verdict.reason, *verdict.caveats) if each]
    return [f"Verdict: **{verdict.word}**{evidence}.", *(["\n".join(caveats)] if caveats else [])]


def _open_section(suite: Suite, scores: OpenScores, picture: Picture) -> list[str]:
    lengths = sorted({length for task in suite.tasks for length in suite.grid(task.name)})
    of_tasks = [
        {"task": task.name, "H90 / H50": horizons(scores.horizons_90[task.name], scores.horizons_50[task.name])}
        | _ends(scores.results, task.name, zone_lengths(suite, task.name, "transfer", None))
        for task in suite.tasks
    ]
    rows = [
        {"task": task.name, "seed": _seed(result)} | _by_length(result, task.name, lengths)
        for task in suite.tasks
        for result in scores.results
    ]
    return [
        "### Not trained under an arm (`open`)",
        f"Open score: {estimated(scores.score, of=len(suite.main_tasks))}.",
        *dict.fromkeys(f"Asked in {escape(str(each.system.prompt))}." for each in scores.results if each.system.prompt),
        _embedded(picture),
        table(of_tasks),
        table(rows, left=2),
    ]


def _embedded(picture: Picture) -> str:
    return f"![{picture.text}]({picture.path})"


def _by_length(result: Result, task: str, lengths: Sequence[int]) -> dict[str, str]:
    """A column for each length, empty where the task has no cell."""
    counts = counts_by_task(result)[task]
    return {str(length): percent(counts[length].accuracy) if length in counts else "" for length in lengths}


def _seed(result: Result) -> str:
    return NONE if result.seed is None else str(result.seed)


def _runs_section(submission: Submission) -> list[str]:
    rows = [_run_row(submission.system, run) for run in submission.runs]
    return [
        "## Runs",
        "Replies that changed when asked again one by one; wrong replies that are empty, early or late; replies that "
        "were cut at 4096 characters, that the model's own cap ended; and prompts that the server refused, which count "
        "as wrong.",
        table(rows, left=5),
    ]


def _run_row(system: SystemRecord, run: SubmittedRun) -> dict[str, str]:
    result, check = run.result, run.result.batch_invariance
    return {
        "run": f"[{run.folder}](../../submissions/{system.name}/{run.folder}/result.json)",
        "suite": result.suite,
        "group": result.group or NONE,
        "arm": result.arm,
        "seed": _seed(result),
        "changed": NONE if check is None else f"{check.changed} of {check.checked}",
        **{
            name: f"{sum(getattr(cell.counts, name) for cell in result.cells):,}"
            for name in (*WRONG_ENDS, "cut", "capped", "refused")
        },
    }
