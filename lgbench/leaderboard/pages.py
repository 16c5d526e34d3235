"""The page of a system: who made it, the results of every arm in every group, and every accuracy by length."""

from __future__ import annotations

import html
from collections.abc import Sequence

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite
from lgbench.leaderboard.markdown import (
    GENERATED,
    count_range,
    escape,
    estimated,
    folded,
    notes,
    table,
)
from lgbench.leaderboard.pictures import Picture, picture_path
from lgbench.leaderboard.scored import SuiteScores
from lgbench.leaderboard.sections import anchor, group_section, open_section, seed_text
from lgbench.results.schema import WRONG_ENDS
from lgbench.scoring.display import NONE
from lgbench.scoring.measures import wilson_interval
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.system import SystemRecord
from lgbench.submissions.tiers import Standing


def system_page(submission: Submission, scores: Sequence[SuiteScores], pictures: Sequence[Picture]) -> str:
    """The text of `leaderboard/systems/NAME.md`.

    Args:
        submission: The system and its runs.
        scores: Its scores, by suite.
        pictures: The pictures of all suites.
    """
    system = submission.system
    by_path = {picture.path: picture for picture in pictures}
    parts = [GENERATED, f"# {system.name}", escape(system.description), _facts(submission)]
    parts.append(_contents(scores))
    for each in scores:
        parts += [f"## {each.suite.name}", _precision(each.suite), *_overview(each)]
        if each.trained:
            parts.append(_standing(each.standing))
            for group in each.trained.groups:
                verdict = each.trained.verdicts[group.group.name]
                parts += group_section(
                    each.suite, group, verdict, by_path[picture_path(system, each.suite, group.group.name)]
                )
        if each.untrained:
            parts += open_section(each.suite, each.untrained, by_path[picture_path(system, each.suite, OPEN_ARM)])
    return "\n\n".join([*parts, *_runs_section(submission)]) + "\n"


def _contents(scores: Sequence[SuiteScores]) -> str:
    """Links to the sections, by suite."""
    lines = []
    for each in scores:
        names = [group.group.name for group in each.trained.groups] if each.trained else []
        names += [OPEN_ARM] if each.untrained else []
        links = ", ".join(f"[{name}](#{anchor(each.suite, name)})" for name in names)
        lines.append(f"- [{each.suite.name}](#{each.suite.name}): {links}")
    return "\n".join([*lines, "- [Runs](#runs)"])


def _overview(scores: SuiteScores) -> list[str]:
    """A line for each group: its score, gain and verdict."""
    if scores.trained is None:
        return []
    rows = [
        {
            "group": f"[{group.group.name}](#{anchor(scores.suite, group.group.name)})",
            "score": estimated(group.score),
            "transfer gain": estimated(group.transfer_gain, signed=True),
            "verdict": scores.trained.verdicts[group.group.name].word,
        }
        for group in scores.trained.groups
    ]
    return [table(rows), *notes("".join(row["score"] + row["transfer gain"] for row in rows))]


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
    """The division, the tier, and what the system lacks for the next tier."""
    missing = [f"- {escape(each)}" for each in standing.missing]
    told = f"Division: {standing.division}. [Tier](../../docs/rules.md#tiers): **{standing.tier}**."
    return f"{told} What is missing for the next tier:\n\n" + "\n".join(missing) if missing else told


def _precision(suite: Suite) -> str:
    size = suite.examples_per_cell
    low, high = wilson_interval(size // 2, size)
    return (
        f"Accuracies are exact match in %. An accuracy at one length is over {size} examples; its 95 % Wilson interval "
        f"spans {100 * (high - low):.1f} points at 50 %, and less elsewhere."
    )


def _runs_section(submission: Submission) -> list[str]:
    rows = [_run_row(submission.system, run) for run in submission.runs]
    return [
        "## Runs",
        "Beside each run: replies that changed when asked again one by one; wrong replies that are empty, early or "
        "late; replies that were cut at 4096 characters, that the model's own cap ended; and prompts that the server "
        "refused, which count as wrong.",
        folded(f"{len(rows)} run{'s' if len(rows) > 1 else ''}", table(rows, left=5)),
    ]


def _run_row(system: SystemRecord, run: SubmittedRun) -> dict[str, str]:
    result, check = run.result, run.result.batch_invariance
    return {
        "run": f"[{run.folder}](../../submissions/{system.name}/{run.folder}/result.json)",
        "suite": result.suite,
        "group": result.group or NONE,
        "arm": result.arm,
        "seed": seed_text(result),
        "changed": NONE if check is None else f"{check.changed} of {check.checked}",
        **{
            name: f"{sum(getattr(cell.counts, name) for cell in result.cells):,}"
            for name in (*WRONG_ENDS, "cut", "capped", "refused")
        },
    }
