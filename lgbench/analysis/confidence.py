"""Does a model know when an input is too long for it? Confidence scores of its replies answer three questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lgbench.analysis.confidence_record import (
    ConfidenceRecord,
    Known,
    Novelty,
    ScoredCell,
    Selection,
    ZoneCalibration,
)
from lgbench.analysis.hooked import HookedModel, HookedTransformer
from lgbench.analysis.opening import Opened
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.questions import choose_tasks, draw_questions
from lgbench.analysis.records import DataCell, resume_analysis, write_analysis
from lgbench.analysis.scored import SCALE, SCORES, Prototypes, fit_temperature, prompt_states, scored_replies
from lgbench.analysis.separation import (
    RESAMPLES,
    Flags,
    Numbers,
    Values,
    area_under_risk,
    calibration,
    middle,
    resampled_risk,
    resampled_separation,
    resamples_of,
    separation_of,
)
from lgbench.data.cells import cell_digest, draw_cell
from lgbench.data.groups import ZONES, Group, Zone
from lgbench.data.suites import Suite
from lgbench.data.task import Example
from lgbench.results.schema import Draft
from lgbench.util.errors import LgbenchError

LEAST_RIGHT, MOST_RIGHT = 0.05, 0.95
"""Accuracies between which a cell has enough right and wrong replies to separate them."""


def analyze_confidence(
    opened: Opened,
    *,
    tasks: Sequence[str] = (),
    lengths: Sequence[int] = (),
    examples: int = 256,
    resamples: int = RESAMPLES,
    path: Path | None = None,
    report: Report = silent,
) -> ConfidenceRecord:
    """Measure how confident a model is in its replies, and whether that detects long inputs and wrong replies.

    Args:
        opened: A reference model.
        tasks: All that it was trained on, the main task first, if empty.
        lengths: All of the group's grid if empty.
        examples: Of each task and length, drawn for analyses; none is a test example.
        resamples: Of the intervals.
        path: Where the record is kept after every cell. An existing record is continued.
        report: Called before every part.

    Raises:
        LgbenchError: It is not a reference model, it was not trained on a task, no length is in distribution, or `path`
            holds another analysis.
    """
    suite, source, model = opened.suite, opened.source, opened.hooked
    if not isinstance(model, HookedTransformer):
        raise LgbenchError(f"{source.model!r} is not a reference model: scores are kept while one of these replies.")
    chosen = choose_tasks(tasks, source)
    group = suite.group(source.group)
    asked = tuple(sorted(lengths or group.grid))
    report(Progress(0, len(chosen) * len(asked), "temperature and prototypes"))
    known = _known(suite, group, source.tasks)
    temperature = fit_temperature(model, [each for cell in known for each in cell])
    prototypes = Prototypes([prompt_states(model, cell) for cell in known])
    record = ConfidenceRecord(
        suite=suite.name,
        draft=Draft.of(suite.draft),
        source=source,
        examples=examples,
        tasks=chosen,
        lengths=asked,
        temperature=round(temperature, 6),
    )
    record = resume_analysis(path, record, ("suite", "draft", "source", "examples", "tasks", "lengths", "temperature"))
    for number, (task, length) in enumerate((task, length) for task in chosen for length in asked):
        if not record.done(task, length):
            report(Progress(number, len(chosen) * len(asked), f"{task}, length {length}"))
            asking = draw_questions(suite, chosen, length, examples).examples[task]
            record = _with_cell(record, asking, model, prototypes)
            if path is not None:
                write_analysis(path, record)
    report(Progress(len(chosen) * len(asked), len(chosen) * len(asked), "done"))
    done = record.model_copy(
        update={
            "novelty": tuple(_novelty(record, resamples)),
            "selection": tuple(_selection(record, resamples)),
            "calibration": tuple(_calibration(record, resamples)),
        }
    )
    if path is not None:
        write_analysis(path, done)
    return done


def _known(suite: Suite, group: Group, trained: dict[str, int]) -> list[list[Example]]:
    """The dev examples of each task at each evaluated length that it was trained to."""
    return [
        draw_cell(suite, task, length, split="dev")
        for task, most in trained.items()
        for length in group.grid
        if length <= most
    ]


def _with_cell(
    record: ConfidenceRecord, asked: list[Example], model: HookedModel, prototypes: Prototypes
) -> ConfidenceRecord:
    found = scored_replies(model, asked, prototypes, record.temperature)
    first = asked[0]
    cell = ScoredCell(
        task=first.task,
        length=first.length,
        right=tuple(found.right.tolist()),
        scores={
            name: tuple(round(SCALE * value) for value in values.tolist()) for name, values in found.scores.items()
        },
    )
    data = DataCell(task=first.task, length=first.length, examples=len(asked), sha256=cell_digest(asked))
    return record.model_copy(update={"cells": (*record.cells, cell), "data": (*record.data, data)})


class _Pool(NamedTuple):
    """The replies of several cells, one cell after the other.

    Attributes:
        sizes: Examples of each cell.
        right: Shape (examples,).
        inside: Whether the task was trained to the length, shape (examples,).
        scores: By name, shape (examples,) each.
    """

    sizes: list[int]
    right: Flags
    inside: Flags
    scores: dict[str, Values]


def _pool(cells: Sequence[ScoredCell], trained: int) -> _Pool:
    return _Pool(
        [len(each.right) for each in cells],
        np.concatenate([np.array(each.right) for each in cells]),
        np.concatenate([np.full(len(each.right), each.length <= trained) for each in cells]),
        {name: np.concatenate([np.array(each.scores[name]) / SCALE for each in cells]) for name in SCORES},
    )


def _novelty(record: ConfidenceRecord, resamples: int) -> list[Novelty]:
    found = []
    for task in record.tasks:
        pool = _pool([each for each in record.cells if each.task == task], record.source.tasks[task])
        if pool.inside.all() or not pool.inside.any():
            continue
        drawn = resamples_of(pool.sizes, resamples)
        for name, scores in pool.scores.items():
            known = _separated(scores, pool.inside, drawn)
            found.append(Novelty(task=task, score=name, auroc=known.auroc, aupr=known.aupr, fpr95=known.fpr95))
    return found


class _Separated(NamedTuple):
    auroc: Known
    aupr: Known
    fpr95: Known


def _separated(scores: Values, positive: Flags, drawn: Numbers) -> _Separated:
    values, spread = separation_of(scores, positive), resampled_separation(scores, positive, drawn)
    return _Separated(*(Known(value, *middle(of_value)) for value, of_value in zip(values, spread, strict=True)))


def _selection(record: ConfidenceRecord, resamples: int) -> list[Selection]:
    found = []
    for cell in record.cells:
        pool = _pool([cell], record.source.tasks[cell.task])
        if not LEAST_RIGHT <= pool.right.mean() <= MOST_RIGHT:
            continue
        drawn = resamples_of(pool.sizes, resamples)
        for name, scores in pool.scores.items():
            known = _separated(scores, pool.right, drawn)
            risks = resampled_risk(scores, pool.right, drawn)
            found.append(
                Selection(
                    task=cell.task,
                    length=cell.length,
                    score=name,
                    wrong=float(1 - pool.right.mean()),
                    auroc=known.auroc,
                    aupr=_separated(-scores, ~pool.right, drawn).aupr,
                    fpr95=known.fpr95,
                    aurc=Known(area_under_risk(scores, pool.right), *middle(risks)),
                )
            )
    return found


def _calibration(record: ConfidenceRecord, resamples: int) -> list[ZoneCalibration]:
    found = []
    for task in record.tasks:
        for zone in ZONES:
            cells = [each for each in record.cells if each.task == task and record.zone(task, each.length) == zone]
            if not cells:
                continue
            pool = _pool(cells, record.source.tasks[task])
            drawn = resamples_of(pool.sizes, resamples)
            for tempered in (False, True):
                name = "tempered_sum_logprob" if tempered else "sum_logprob"
                found.append(_calibrated(task, zone, np.exp(np.minimum(pool.scores[name], 0)), pool, drawn, tempered))
    return found


def _calibrated(
    task: str, zone: Zone, confidence: Values, pool: _Pool, drawn: Numbers, tempered: bool
) -> ZoneCalibration:
    values = calibration(confidence, pool.right)
    spread = np.array([calibration(confidence[row], pool.right[row]) for row in drawn])
    over, ece, brier = (Known(value, *middle(column)) for value, column in zip(values, spread.T, strict=True))
    return ZoneCalibration(
        task=task,
        zone=zone,
        tempered=tempered,
        examples=len(confidence),
        accuracy=float(pool.right.mean()),
        confidence=float(confidence.mean()),
        over_confidence=over,
        ece=ece,
        brier=brier,
    )
