"""Results and comparisons as tidy pandas frames: one observation a row, shares from 0 to 1. Pure.

The numbers are those of the tables and of `--json`, to the last digit. What is not known is missing, never 0. pandas is
imported when a frame is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lgbench.data.groups import ZONES
from lgbench.data.suites import load_suite
from lgbench.results.schema import Result
from lgbench.scoring.measures import (
    Horizon,
    Interval,
    ZoneSummary,
    is_partial,
    open_score,
    summarize,
    wilson_interval,
    zone_accuracy,
)
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.text import LONGEST_PATH, plain

if TYPE_CHECKING:
    import pandas as pd

    from lgbench.scoring.estimates import Estimate
    from lgbench.scoring.systems import TrainedScores

Rows = Literal["cells", "zones", "runs"]
DIAGNOSTICS = (
    *("empty", "early", "late", "chars_correct", "chars_total"),
    *("valid_moves", "right_endpoint", "cut", "capped", "refused"),
)
"""The counts of a cell beside `correct` and `total`: columns of a frame of cells."""
_MAY_MISS = frozenset(
    (
        *("seed", "limit", "empty", "early", "valid_moves", "right_endpoint", "horizon_90", "horizon_50"),
        *("first_seeds", "second_seeds"),
    ),
)
"""Columns of whole numbers that some results lack: of one type, whether these do or not."""
_WHOLE = _MAY_MISS.union(("length", "correct", "total", *DIAGNOSTICS, "seeds", "step", "first_wrong"))
_TEXT = frozenset(("group", "task", "run", "baseline", "verdict", "method"))


class Labelled(NamedTuple):
    """A result, and what a frame calls it.

    Attributes:
        result: The result.
        system: The system that it is of.
        run: Its folder; None where it has none.
    """

    result: Result
    system: str
    run: str | None = None


def result_frame(results: Sequence[Labelled], rows: Rows = "cells") -> pd.DataFrame:
    """Results as a frame.

    Args:
        results: At least one.
        rows: What a row is. `cells`: a task at a length, with counts, the accuracy and its Wilson interval. `zones`: a
            task in a zone, likewise, with the task's horizons. `runs`: a result, with the accuracy of its main task by
            zone; of arm `open`, `transfer` is the open score.

    Raises:
        LgbenchError: There is no result, or one is of a draft suite that is not open.
        UnknownNameError: There are no such rows.
    """
    makers = {"cells": _cells, "zones": _zones, "runs": _runs}
    if rows not in makers:
        raise UnknownNameError("kind of rows", rows, makers)
    if not results:
        raise LgbenchError("There is no result to make a frame of: none was given, or all were filtered out.")
    return frame(row for each in results for row in _named(each, makers[rows]))


def _named(each: Labelled, make: Callable[[Labelled], Iterator[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """The rows of a result, with its folder in what is wrong with it."""
    try:
        yield from make(each)
    except LgbenchError as error:
        raise LgbenchError(f"{plain(each.run or each.system, limit=LONGEST_PATH)}: {error}") from None


def frame(rows: Iterator[Mapping[str, Any]]) -> pd.DataFrame:
    """Rows of the same columns as a frame. Whole numbers stay whole beside missing ones; fractions become floats."""
    import pandas as pd

    plain = [{name: float(v) if isinstance(v, Fraction) else v for name, v in row.items()} for row in rows]
    columns = {name: [row[name] for row in plain] for name in plain[0]}
    series = {name: pd.Series(values, dtype=_kind(name, values)) for name, values in columns.items()}
    return pd.DataFrame(series)


def _kind(name: str, values: Sequence[object]) -> str | None:
    known = [value for value in values if value is not None]
    if not known and name in _TEXT:
        return "object"
    if known and isinstance(known[0], bool | str):
        return None
    if name in _WHOLE:
        return "Int64" if name in _MAY_MISS or len(known) < len(values) else "int64"
    return "float64"


def _of_run(each: Labelled) -> dict[str, Any]:
    result = each.result
    return {
        "suite": result.suite,
        "system": each.system,
        "arm": result.arm,
        "group": result.group,
        "seed": result.seed,
    }


def _cells(each: Labelled) -> Iterator[dict[str, Any]]:
    suite = load_suite(each.result.suite, each.result.draft)
    for cell in each.result.cells:
        counts = cell.counts
        low, high = wilson_interval(counts.correct, counts.total)
        yield {
            **_of_run(each),
            "task": cell.task,
            "length": cell.length,
            "zone": suite.zone_group(cell.task, each.result.group).zone(cell.length),
            "correct": counts.correct,
            "total": counts.total,
            "accuracy": counts.accuracy,
            "low": low,
            "high": high,
            **{name: getattr(counts, name) for name in DIAGNOSTICS},
            "run": each.run,
        }


def _zones(each: Labelled) -> Iterator[dict[str, Any]]:
    for task in summarize(each.result):
        for zone in ZONES:
            yield {
                **_of_run(each),
                "task": task.task,
                "zone": zone,
                **_summary(task.zones[zone]),
                "horizon_90": _length(task.horizon_90),
                "horizon_50": _length(task.horizon_50),
                "run": each.run,
            }


def _summary(zone: ZoneSummary | None) -> dict[str, Any]:
    if zone is None:
        return dict.fromkeys(("correct", "total", "accuracy", "low", "high"))
    return {"correct": zone.correct, "total": zone.total, "accuracy": zone.accuracy, **_bounds(zone.interval)}


def _runs(each: Labelled) -> Iterator[dict[str, Any]]:
    result = each.result
    row = _of_run(each) | {
        "model": result.system.model,
        "limit": result.limit,
        "partial": is_partial(result),
        "correct": sum(cell.counts.correct for cell in result.cells),
        "total": sum(cell.counts.total for cell in result.cells),
    }
    if result.group is None:
        accuracies = dict[str, Any].fromkeys(ZONES) | {"transfer": open_score(result)}
        horizons = dict[str, Any].fromkeys(("horizon_90", "horizon_50"))
    else:
        main = load_suite(result.suite, result.draft).group(result.group).main
        accuracies = {zone: zone_accuracy(result, main, zone) for zone in ZONES}
        of_main = [task for task in summarize(result) if task.task == main]
        horizons = {
            name: _length(getattr(of_main[0], name)) if of_main else None for name in ("horizon_90", "horizon_50")
        }
    yield row | accuracies | horizons | {"run": each.run}


def comparison_frame(scores: TrainedScores) -> pd.DataFrame:
    """A comparison of the arms of a system: a row for each arm of each group.

    `low` and `high` bound `transfer`, and are missing where all seeds of the arm are equal; `gain` is over the arm
    `baseline`, and missing for a baseline itself.

    Raises:
        LgbenchError: There is no group to compare.
    """
    rows = [row for group in scores.groups for row in _arms(scores, group)]
    if not rows:
        raise LgbenchError("There is no complete run of a trained arm, so a comparison has no rows.")
    return frame(iter(rows))


def _arms(scores: TrainedScores, group: Any) -> Iterator[dict[str, Any]]:
    gains = {gain.arm: gain for gain in group.gains}
    for name, arm in group.arms.items():
        gain = gains.get(name)
        yield {
            "suite": scores.suite.name,
            "group": group.group.name,
            "arm": name,
            "seeds": len(arm.seeds),
            "in_distribution": arm.zone("in_distribution"),
            **_estimate(arm.transfer, "transfer", "low", "high"),
            "beyond": arm.zone("beyond"),
            "success_rate": arm.success_rate,
            "best_seed": arm.best_seed,
            "horizon_90": _length(arm.horizon_90),
            "gap": arm.gap,
            "baseline": None if gain is None else gain.baseline,
            **_estimate(None if gain is None else gain.estimate, "gain", "gain_low", "gain_high"),
        }


def _estimate(estimate: Estimate | None, value: str, low: str, high: str) -> dict[str, Any]:
    if estimate is None:
        return dict.fromkeys((value, low, high))
    return {value: estimate.value} | _bounds(estimate.interval, low, high)


def _bounds(interval: Interval | None, low: str = "low", high: str = "high") -> dict[str, float | None]:
    """The ends of an interval; missing where there is none."""
    return {low: None, high: None} if interval is None else {low: interval.low, high: interval.high}


def _length(horizon: Horizon | None) -> int | None:
    return None if horizon is None else horizon.length
