"""The paper's two measures beside the generalization gap over training, from the weights that a run has kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from lgbench.analysis.heads import HeadsRecord, analyze_heads
from lgbench.analysis.nulls import rank_correlation
from lgbench.analysis.opening import Opened, open_model
from lgbench.analysis.progress import Progress, Report, silent
from lgbench.analysis.records import (
    AnalysisRecord,
    DataCell,
    Share,
    Strict,
    resume_analysis,
    write_analysis,
)
from lgbench.data.cells import DEV_EXAMPLES
from lgbench.results.schema import Draft, Name, Seed, Sha256
from lgbench.training.record import CurvePoint, TrainingRecord, read_training_record
from lgbench.training.trainer import POINTS
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    import pandas as pd

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1)]
Measure = Literal["ablation_exact", "ablation_logprob", "attention"]
MEASURES: tuple[Measure, ...] = ("ablation_exact", "ablation_logprob", "attention")


class Apart(Strict):
    """The distance of another task from the main task at a point.

    Attributes:
        task: The other task.
        gap: The mean over the grid of the distance of the two accuracies, on dev examples.
        learned: Whether both tasks are learned at all lengths of the maps.
        ablation_exact: The mean absolute difference of the head maps, as a share of right targets.
        ablation_logprob: The same in nats a token.
        attention: The mean total variation distance of the attention; null where the tasks read different prompts.
    """

    task: Name
    gap: Share
    learned: bool
    ablation_exact: Finite
    ablation_logprob: Finite
    attention: Share | None


class Point(Strict):
    """A point of a run.

    Attributes:
        step: Steps done.
        weights_sha256: Of the weights that were kept.
        apart: The distance of each other task.
    """

    step: Positive
    weights_sha256: Sha256
    apart: tuple[Apart, ...]


class PointsRecord(AnalysisRecord):
    """The content of `points.json`.

    Attributes:
        analysis: Always `points`.
        run: The run's folder, as named.
        group: Its group.
        arm: Its arm.
        seed: Its seed.
        examples: Of each task and length.
        tasks: The main task first.
        lengths: Of the maps, in distribution.
        steps: Of the weights that were kept.
        data: What was asked.
        points: Those that are done.
    """

    analysis: Literal["points"] = "points"
    run: str
    group: Name
    arm: Name
    seed: Seed
    examples: Positive
    tasks: tuple[Name, ...]
    lengths: tuple[Positive, ...]
    steps: tuple[Positive, ...]
    data: tuple[DataCell, ...] = ()
    points: tuple[Point, ...] = ()

    def done(self, step: int) -> bool:
        """Whether the point of a step is done."""
        return any(each.step == step for each in self.points)

    def frame(self) -> pd.DataFrame:
        """A row for each point and other task."""
        import pandas as pd

        return pd.DataFrame({"step": each.step} | one.model_dump() for each in self.points for one in each.apart)

    def correlations(self) -> pd.DataFrame:
        """Spearman's correlation of each measure with the gap, over points and over their changes to the next.

        Both drift while a model trains, so that any two agree over points; changes do not drift. Of few points it says
        little. Null with fewer than 3.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for task in self.tasks[1:]:
            each = [one for point in self.points for one in point.apart if one.task == task]
            gaps = np.array([one.gap for one in each])
            for measure in MEASURES:
                values = [getattr(one, measure) for one in each]
                if any(value is None for value in values):
                    continue
                found = np.array(values, dtype=np.float64)
                row: dict[str, Any] = {"task": task, "measure": measure}
                row["points"] = rank_correlation(found, gaps) if len(found) > 2 else None
                row["changes"] = rank_correlation(np.diff(found), np.diff(gaps)) if len(found) > 3 else None
                rows.append(row)
        return pd.DataFrame(rows)


def analyze_points(
    folder: Path,
    *,
    lengths: Sequence[int] = (),
    examples: int = 64,
    path: Path | None = None,
    report: Report = silent,
    device: str = "auto",
) -> PointsRecord:
    """Measure the distance between tasks at each point whose weights a run kept, by `mean` ablation as in the paper.

    Args:
        folder: Of a run with the hook `keep-points`.
        lengths: Of the maps; the last evaluated one in distribution if empty.
        examples: Of each task and length.
        path: Where the record is kept after every point. An existing record is continued.
        report: Called before every point.
        device: Where to run.

    Raises:
        LgbenchError: The folder holds no run, the run has kept no weights or trained one task alone, a length is not in
            distribution, or `path` holds another analysis.
    """
    run = read_training_record(folder)
    plan = run.plan
    group, trained = plan.suite_group, plan.mixture.tasks
    tasks = (group.main, *(each for each in trained if each != group.main))
    asked = tuple(sorted(lengths)) or group.zone_lengths("in_distribution")[-1:]
    if len(tasks) < 2:
        raise LgbenchError(f"{str(folder)!r} trained {tasks[0]!r} alone: there is no other task to be apart from.")
    if asked[-1] > (most := min(trained.values())):
        raise LgbenchError(
            f"Maps are compared at lengths that all tasks are trained to, up to {most}, not at {asked[-1]}: a task "
            "cannot lose what it does not have."
        )
    kept = _kept(folder, run)
    record = PointsRecord(
        suite=plan.suite,
        draft=Draft.of(plan.loaded_suite.draft),
        run=str(folder),
        group=plan.group,
        arm=plan.arm,
        seed=plan.seed,
        examples=examples,
        tasks=tasks,
        lengths=asked,
        steps=tuple(kept),
    )
    same = [name for name in PointsRecord.model_fields if name not in ("data", "points")]
    record = resume_analysis(path, record, same)
    for number, (step, place) in enumerate(kept.items()):
        if not record.done(step):
            report(Progress(number, len(kept), f"step {step}"))
            record = _with_point(record, run, step, open_model(str(place), device=device))
            if path is not None:
                write_analysis(path, record)
    report(Progress(len(kept), len(kept), "done"))
    return record


def _with_point(record: PointsRecord, run: TrainingRecord, step: int, opened: Opened) -> PointsRecord:
    """A record with one more point."""
    heads = analyze_heads(
        opened, tasks=record.tasks, lengths=record.lengths, ablations=["mean"], examples=record.examples
    )
    curve = next(each for each in run.curve if each.step == step)
    apart = tuple(_apart(heads, curve, each) for each in record.tasks[1:])
    point = Point(step=step, weights_sha256=opened.source.weights_sha256, apart=apart)
    return record.model_copy(update={"points": (*record.points, point), "data": heads.data})


def _kept(folder: Path, run: TrainingRecord) -> dict[int, Path]:
    """The weights that a run has kept at points of its curve, by step."""
    steps = {each.step for each in run.curve}
    found = {
        int(match[1]): place
        for place in (folder / POINTS).glob("step*")
        if (match := re.fullmatch(r"step([0-9]+)", place.name)) and int(match[1]) in steps
    }
    if not found:
        raise LgbenchError(
            f"{str(folder)!r} has kept no weights along the way. Train with --hook keep-points, which keeps them at "
            "every point of the curve."
        )
    return dict(sorted(found.items()))


def _apart(heads: HeadsRecord, curve: CurvePoint, task: str) -> Apart:
    main = heads.tasks[0]
    distances = heads.distances()
    of_pair = distances[(distances["first"] == main) & (distances["second"] == task)]

    def mean(measure: str, metric: str | None) -> float | None:
        chosen = of_pair[of_pair["measure"] == measure]
        chosen = chosen if metric is None else chosen[chosen["metric"] == metric]
        return float(chosen["distance"].mean()) if len(chosen) else None

    exact, logprob, attention = mean("ablation", "exact"), mean("ablation", "logprob"), mean("attention", None)
    assert exact is not None
    assert logprob is not None
    gaps = [abs(right - curve.correct[task][length]) for length, right in curve.correct[main].items()]
    return Apart(
        task=task,
        gap=sum(gaps) / (DEV_EXAMPLES * len(gaps)),
        learned=bool(of_pair["learned"].all()),
        ablation_exact=exact,
        ablation_logprob=logprob,
        attention=None if attention is None else min(attention, 1.0),
    )
