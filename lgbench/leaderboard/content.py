"""The board as data: from scores to `BoardRecord`, which board.json and the web page hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from lgbench.data.groups import Group
from lgbench.data.suites import SUITES, Suite
from lgbench.leaderboard import record
from lgbench.leaderboard.order import Entry, Section
from lgbench.leaderboard.scored import SuiteScores
from lgbench.leaderboard.standings import Opened, list_systems
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.estimates import Estimate
from lgbench.scoring.measures import Horizon
from lgbench.scoring.seen import Verdict
from lgbench.submissions.checked import Submission


def board_record(submissions: Sequence[Submission], scores: Sequence[SuiteScores]) -> record.BoardRecord:
    """The board.

    Args:
        submissions: The systems, by name.
        scores: Of every system on every suite.
    """
    suites = (_suite(suite, scores) for suite in SUITES)
    return record.BoardRecord(
        systems=tuple(map(_system, submissions)),
        suites=tuple(suite for suite in suites if suite.trained or suite.open),
    )


def _system(submission: Submission) -> record.SystemInfo:
    system = submission.system
    return record.SystemInfo(
        name=system.name,
        description=system.description,
        authors=system.authors,
        link=system.link,
        licence=system.licence,
        parameters=submission.parameters,
        training_notes=system.training_notes,
        runs=len(submission.runs),
    )


def _suite(suite: Suite, scores: Sequence[SuiteScores]) -> record.SuiteRecord:
    listed = list_systems(suite, scores)
    return record.SuiteRecord(
        name=suite.name,
        examples_per_cell=suite.examples_per_cell,
        groups=tuple(_group_info(suite, group) for group in suite.groups),
        main_tasks=suite.main_tasks,
        trained=tuple(_trained(entry, section) for section in listed.sections for entry in section.entries),
        open=tuple(_opened(suite, entry) for entry in listed.opened),
    )


def _group_info(suite: Suite, group: Group) -> record.GroupInfo:
    return record.GroupInfo(
        name=group.name,
        domain=suite.domain(group).name,
        main=group.main,
        auxiliaries=group.auxiliaries,
        control=group.control,
        main_length=group.main_length,
        aux_length=group.aux_length,
        grid=group.grid,
    )


def _trained(entry: Entry, section: Section) -> record.TrainedRecord:
    scores, place = entry.scores, entry.place
    words = Counter(scores.verdicts[group.group.name].word for group in scores.covered)
    return record.TrainedRecord(
        system=entry.on_suite.system.name,
        division=section.division,
        tier=str(entry.on_suite.tier),
        verified=section.is_verified,
        missing=entry.on_suite.standing.missing,
        coverage=section.coverage,
        first_place=None if place is None else place.first,
        last_place=None if place is None else place.last,
        score=_figure(scores.score),
        domain_score=_figure(scores.domain_score),
        transfer_gain=_figure(scores.transfer_gain),
        control_gain=_figure(scores.control_gain),
        seen=words["seen"],
        consistent=words["consistent with transfer"],
        covered=len(scores.covered),
        fewest_seeds=min(scores.seeds, default=0),
        in_distribution=_mean(scores.mean(lambda arm: arm.zone("in_distribution"))),
        beyond=_mean(scores.mean(lambda arm: arm.zone("beyond"))),
        success_rate=_mean(scores.mean(lambda arm: arm.success_rate)),
        best_seed=_mean(scores.mean(lambda arm: arm.best_seed)),
        groups=tuple(_group(group, scores.verdicts[group.group.name]) for group in scores.groups),
    )


def _group(scores: GroupScores, verdict: Verdict) -> record.GroupRecord:
    return record.GroupRecord(
        group=scores.group.name,
        score=_figure(scores.score),
        transfer_gain=_figure(scores.transfer_gain),
        control_gain=_figure(scores.control_gain),
        gain_over_control=_figure(scores.gain_over("control")),
        gain_over_short_aux=_figure(scores.gain_over("short_aux")),
        recovered_share=_share(scores.recovered_share),
        verdict=_verdict(verdict),
        arms={name: _arm(arm) for name, arm in scores.arms.items()},
    )


def _arm(arm: ArmScores) -> record.ArmRecord:
    success = arm.success_interval
    return record.ArmRecord(
        seeds=tuple(seed.result.seed for seed in arm.seeds),
        accuracies=tuple(float(accuracy) for accuracy in arm.accuracies),
        in_distribution=_share(arm.zone("in_distribution")),
        transfer=_figure(arm.transfer),
        beyond=_share(arm.zone("beyond")),
        success_rate=_share(arm.success_rate),
        success_low=None if success is None else float(success.low),
        success_high=None if success is None else float(success.high),
        horizon_90=_length(arm.horizon_90),
        horizon_50=_length(arm.horizon_50),
        gap=_share(arm.gap),
    )


def _verdict(verdict: Verdict) -> record.VerdictRecord:
    return record.VerdictRecord(
        word=verdict.word,
        reason=verdict.reason,
        caveats=verdict.caveats,
        p={contrast.baseline: float(contrast.p) for contrast in verdict.contrasts},
        corrected_p=_share(verdict.corrected_p),
        tests=verdict.tests,
    )


def _opened(suite: Suite, entry: Opened) -> record.OpenRecord:
    scores = entry.scores
    prompts = (result.system.prompt for result in scores.results)
    return record.OpenRecord(
        system=entry.on_suite.system.name,
        place=entry.place,
        score=_figure(scores.score),
        seeds=tuple(result.seed for result in scores.results),
        asked=tuple(dict.fromkeys(str(prompt) for prompt in prompts if prompt is not None)),
        tasks=tuple(
            record.TaskRecord(
                task=task.name,
                transfer=_share(scores.transfer(task.name)),
                horizon_90=_length(scores.horizons_90[task.name]),
                horizon_50=_length(scores.horizons_50[task.name]),
            )
            for task in suite.tasks
        ),
    )


def _figure(estimate: Estimate | None) -> record.Figure | None:
    if estimate is None:
        return None
    low, high = (None, None) if estimate.interval is None else map(float, estimate.interval)
    return record.Figure(
        value=float(estimate.value), low=low, high=high, one_seed=estimate.one_seed, count=estimate.count
    )


def _mean(mean: tuple[Fraction | None, int]) -> record.Mean:
    value, count = mean
    return record.Mean(value=_share(value), count=count)


def _share(share: Fraction | None) -> float | None:
    return None if share is None else float(share)


def _length(horizon: Horizon | None) -> int | None:
    return None if horizon is None else horizon.length
