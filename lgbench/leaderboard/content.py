"""The board as data: makes the records of board.json from scores, and board.json from records that are kept as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain, repeat

from pydantic import BaseModel

from lgbench.data.groups import Group
from lgbench.data.suites import Suite, load_suite
from lgbench.leaderboard import record
from lgbench.leaderboard.order import coverage
from lgbench.leaderboard.parts import Listing
from lgbench.leaderboard.scored import SuiteScores
from lgbench.scoring.comparison import ArmScores, GroupScores
from lgbench.scoring.estimates import Estimate
from lgbench.scoring.measures import Horizon
from lgbench.scoring.seen import Verdict
from lgbench.scoring.systems import OpenScores, TrainedScores
from lgbench.submissions.checked import Submission


def board_json(infos: Sequence[str], listings: Sequence[Listing]) -> Iterator[str]:
    """The text of `board.json`, in pieces: that of a `BoardRecord`, whose records of systems are text already.

    Args:
        infos: The `SystemInfo` of each system, by name, as indented JSON.
        listings: The systems of every suite with systems.
    """
    suites = [_suite(listed) for listed in listings]
    yield from _filled(record.BoardRecord(systems=(), suites=()), systems=infos, suites=suites)
    yield "\n"


def _suite(listed: Listing) -> str:
    suite = load_suite(listed.suite)
    frame = record.SuiteRecord(
        name=suite.name,
        examples_per_cell=suite.examples_per_cell,
        groups=tuple(_group_info(suite, group) for group in suite.groups),
        main_tasks=suite.main_tasks,
        trained=(),
        open=(),
    )
    trained, opened = ([entry.record for entry in entries] for entries in (listed.trained, listed.opened))
    return "".join(_filled(frame, trained=trained, open=opened))


def _filled(frame: BaseModel, **lists: Sequence[str]) -> Iterator[str]:
    """The indented JSON of a record whose last fields are lists, empty in `frame`, of records that are JSON already."""
    end = ",\n".join(f' "{name}": []' for name in lists) + "\n}"
    text = frame.model_dump_json(indent=1)
    if not text.endswith(end):
        raise ValueError(f"the record does not end with {end!r}")
    yield text.removesuffix(end)
    for number, (name, records) in enumerate(lists.items()):
        yield ",\n" if number else ""
        yield f' "{name}": ['
        for before, each in zip(chain("\n", repeat(",\n")), records, strict=False):
            yield f"{before}  " + each.replace("\n", "\n  ")  # no text in it holds a line feed
        yield "\n ]" if records else "]"
    yield "\n}"


def system_info(submission: Submission) -> str:
    """The `SystemInfo` of a system, as indented JSON."""
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
    ).model_dump_json(indent=1)


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


def trained_record(on_suite: SuiteScores, scores: TrainedScores) -> str:
    """The `TrainedRecord` of a system on a suite without its place, as indented JSON."""
    words = Counter(scores.verdicts[group.group.name].word for group in scores.covered)
    return record.TrainedRecord(
        system=on_suite.system.name,
        division=on_suite.division,
        tier=str(on_suite.tier),
        verified=on_suite.tier.is_verified,
        missing=on_suite.standing.missing,
        coverage=coverage(scores),
        first_place=None,
        last_place=None,
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
    ).model_dump_json(indent=1)


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


def open_record(on_suite: SuiteScores, scores: OpenScores) -> str:
    """The `OpenRecord` of a system on a suite in place 0, as indented JSON."""
    prompts = (result.system.prompt for result in scores.results)
    return record.OpenRecord(
        system=on_suite.system.name,
        place=0,
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
            for task in on_suite.suite.tasks
        ),
    ).model_dump_json(indent=1)


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
