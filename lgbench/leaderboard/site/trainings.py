"""The training curves of a system, from the records that were submitted with its runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lgbench.data.groups import Group, Zone
from lgbench.data.suites import load_suite
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.training.record import CurvePoint, TrainingRecord

_MOST_POINTS = 200
_DEV_EXAMPLES = 64


def training_curves(submission: Submission) -> dict[str, list[dict[str, Any]]]:
    """A line for each run with a record, by suite and group; empty if no run has one."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in submission.runs:
        if run.training is not None and run.result.group is not None and run.training.curve:
            name = f"{run.result.suite} {run.result.group}"
            found.setdefault(name, []).append(_run(run, run.training))
    return found


def _run(run: SubmittedRun, record: TrainingRecord) -> dict[str, Any]:
    assert run.result.group is not None
    group = load_suite(run.result.suite).group(run.result.group)
    points = _thinned(record.curve)
    return {
        "arm": run.result.arm,
        "seed": run.result.seed,
        "steps": [point.step for point in points],
        "loss": [round(point.loss, 5) for point in points],
        "transfer": [_accuracy(point, group, "transfer") for point in points],
        "in_distribution": [_accuracy(point, group, "in_distribution") for point in points],
    }


def _thinned(curve: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Evenly spaced points, the last among them."""
    step = -(-len(curve) // _MOST_POINTS)
    return list(curve[::-1][::step][::-1])


def _accuracy(point: CurvePoint, group: Group, zone: Zone) -> float | None:
    """The main task's accuracy on dev examples in a zone; None where the record has none of its lengths."""
    counts = point.correct.get(group.main, {})
    lengths = [length for length in group.zone_lengths(zone) if length in counts]
    return round(sum(counts[length] for length in lengths) / len(lengths) / _DEV_EXAMPLES, 5) if lengths else None
