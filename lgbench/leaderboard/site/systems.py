"""The content of a system's page: its groups, its wrong replies by kind with examples, its trainings, its runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lgbench.data.groups import Group
from lgbench.leaderboard.markdown import count_range, horizons, interval, notes
from lgbench.leaderboard.pictures import group_picture, open_picture
from lgbench.leaderboard.scored import SuiteScores
from lgbench.leaderboard.sections import seed_text
from lgbench.leaderboard.site.cells import figure, json_script
from lgbench.leaderboard.site.mistakes import Mistakes
from lgbench.leaderboard.site.trainings import training_curves
from lgbench.results.schema import Result
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.display import NONE, percent
from lgbench.scoring.measures import zone_lengths
from lgbench.scoring.seen import Verdict
from lgbench.scoring.systems import OpenScores
from lgbench.submissions.checked import Submission


def system_page(submission: Submission, scores: Sequence[SuiteScores], folder: Path) -> dict[str, Any]:
    """The variables of the template.

    Args:
        submission: The system and its runs.
        scores: Its scores, by suite.
        folder: The folder of its runs.
    """
    mistakes = Mistakes({id(run.result): folder / run.folder for run in submission.runs})
    curves = training_curves(submission)
    return {
        "system": submission.system,
        "parameters": count_range(submission.parameters, none="unknown"),
        "sections": [_suite(each, mistakes) for each in scores],
        "training": json_script({"groups": curves}) if curves else None,
        "training_groups": list(curves),
        "is_trained": any(each.trained for each in scores),
        "runs": [_run(run.folder, run.result) for run in submission.runs],
    }


def pictures(scores: Sequence[SuiteScores]) -> dict[str, str]:
    """The pictures on the page, by their paths in the folder of all systems."""
    found = {}
    for each in scores:
        for group in each.trained.groups if each.trained else ():
            picture = group_picture(each.system, each.suite, group)
            found[picture.path] = picture.svg()
        if each.untrained:
            picture = open_picture(each.system, each.suite, each.untrained)
            found[picture.path] = picture.svg()
    return found


def _suite(scores: SuiteScores, mistakes: Mistakes) -> dict[str, Any]:
    verdicts: Mapping[str, Verdict] = scores.trained.verdicts if scores.trained else {}
    own = scores.trained.groups if scores.trained else ()
    groups = [_group(scores, each, verdicts[each.group.name], mistakes) for each in own]
    return {
        "name": scores.suite.name,
        "division": scores.division,
        "tier": str(scores.tier) if scores.trained else "",
        "missing": scores.standing.missing,
        "groups": groups,
        "marks": notes("".join(cell.value + cell.interval for group in groups for cell in group["figures"])),
        "opened": _opened(scores, scores.untrained, mistakes) if scores.untrained else None,
    }


def _group(on_suite: SuiteScores, scores: GroupScores, verdict: Verdict, mistakes: Mistakes) -> dict[str, Any]:
    picture, group = group_picture(on_suite.system, on_suite.suite, scores), scores.group
    return {
        "name": group.name,
        "word": verdict.word,
        "reason": verdict.reason,
        "caveats": verdict.caveats,
        "picture": picture.path,
        "words": picture.text,
        "figures": [
            figure(scores.score),
            figure(scores.transfer_gain, signed=True),
            figure(scores.gain_over("control"), signed=True),
        ],
        "arms": [_arm(name, arm) for name, arm in scores.arms.items()],
        "errors": _transfer_mistakes(scores, group, mistakes),
    }


def _arm(name: str, arm: ArmScores) -> dict[str, Any]:
    success = f" {interval(arm.success_interval)}" if arm.success_interval else ""
    return {
        "arm": name,
        "seeds": len(arm.seeds),
        "in_distribution": percent(arm.zone("in_distribution")),
        "transfer": figure(arm.transfer),
        "beyond": percent(arm.zone("beyond")),
        "success": percent(arm.success_rate) + success,
        "horizons": horizons(arm.horizon_90, arm.horizon_50),
    }


def _transfer_mistakes(scores: GroupScores, group: Group, mistakes: Mistakes) -> dict[str, Any] | None:
    if "transfer" not in scores.arms:
        return None
    results = [seed.result for seed in scores.arms["transfer"].seeds]
    title = f"Wrong replies to {group.main} in the transfer zone under transfer, by kind"
    return mistakes.table(results, tasks=(group.main,), lengths=group.zone_lengths("transfer"), title=title)


def _opened(on_suite: SuiteScores, scores: OpenScores, mistakes: Mistakes) -> dict[str, Any]:
    suite = on_suite.suite
    picture, score = open_picture(on_suite.system, suite, scores), figure(scores.score, mark_one_seed=False)
    lengths = {length for task in suite.main_tasks for length in zone_lengths(suite, task, "transfer", None)}
    asked = (str(result.system.prompt) for result in scores.results if result.system.prompt)
    return {
        "score": f"{score.value} {score.interval}".partition(" (n=")[0],
        "asked": list(dict.fromkeys(asked)),
        "groups": [group.name for group in suite.groups],
        "picture": picture.path,
        "words": picture.text,
        "errors": mistakes.table(
            scores.results,
            tasks=suite.main_tasks,
            lengths=sorted(lengths),
            title="Wrong replies to the main tasks at the lengths of their transfer zones, by kind",
        ),
    }


def _run(folder: str, result: Result) -> dict[str, str]:
    return {
        "name": folder,
        "suite": result.suite,
        "group": result.group or NONE,
        "arm": result.arm,
        "seed": seed_text(result),
        "correct": f"{sum(cell.counts.correct for cell in result.cells):,}",
        "total": f"{sum(cell.counts.total for cell in result.cells):,}",
    }
