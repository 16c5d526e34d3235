"""The record of `analyze confidence`: the confidence of a model in each reply, and the answers to three questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from pydantic import Field

from lgbench.analysis.records import AnalysisRecord, DataCell, ModelSource, Share, Strict
from lgbench.data.groups import Zone
from lgbench.data.suites import load_suite
from lgbench.results.schema import Name

if TYPE_CHECKING:
    import pandas as pd

Positive = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Known(NamedTuple):
    """A number with its 95 % interval over the examples."""

    value: Finite
    low: Finite
    high: Finite


class ScoredCell(Strict):
    """The replies to the examples of a task at a length.

    Attributes:
        task: The task.
        length: The length.
        right: Whether each reply is the target.
        scores: The confidence in each reply, by the name of the score, in millionths.
    """

    task: Name
    length: Positive
    right: tuple[bool, ...]
    scores: dict[Name, tuple[int, ...]]


class Novelty(Strict):
    """Question 1: does a score separate lengths up to the training length from longer ones?

    Attributes:
        task: The task.
        score: The score.
        auroc: In-distribution examples are positive, also below.
        aupr: Average precision.
        fpr95: False positive rate at 95 % recall.
    """

    task: Name
    score: Name
    auroc: Known
    aupr: Known
    fpr95: Known


class Selection(Strict):
    """Question 2: does a score separate right replies from wrong ones of the same cell?

    Attributes:
        task: The task.
        length: The length.
        score: The score.
        wrong: The share of wrong replies, which is the risk of keeping all.
        auroc: Right is positive.
        aupr: Wrong is positive, and a low score finds it.
        fpr95: Right is positive.
        aurc: The area under risk by coverage.
    """

    task: Name
    length: Positive
    score: Name
    wrong: Share
    auroc: Known
    aupr: Known
    fpr95: Known
    aurc: Known


class ZoneCalibration(Strict):
    """Question 3: is the probability of a reply its chance of being right?

    Attributes:
        task: The task.
        zone: Of the lengths; of an auxiliary `beyond` is what is longer than it was trained to.
        tempered: Whether at the fitted temperature.
        examples: How many.
        accuracy: The share of right replies.
        confidence: The mean probability of the replies.
        over_confidence: Confidence less accuracy.
        ece: The expected calibration error.
        brier: The mean squared error.
    """

    task: Name
    zone: Zone
    tempered: bool
    examples: Positive
    accuracy: Share
    confidence: Share
    over_confidence: Known
    ece: Known
    brier: Known


class ConfidenceRecord(AnalysisRecord):
    """The content of `confidence.json`.

    Attributes:
        analysis: Always `confidence`.
        source: The model.
        examples: Of each task and length.
        tasks: The main task first.
        lengths: Ascending.
        temperature: Fitted on dev examples at lengths in distribution.
        data: What was asked, for the cells that are done.
        cells: By task, then length.
        novelty: Of each task with lengths of both kinds.
        selection: Of each cell with 5 to 95 % right.
        calibration: Of each task and zone.
    """

    analysis: Literal["confidence"] = "confidence"
    source: ModelSource
    examples: Positive
    tasks: tuple[Name, ...]
    lengths: tuple[Positive, ...]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    data: tuple[DataCell, ...] = ()
    cells: tuple[ScoredCell, ...] = ()
    novelty: tuple[Novelty, ...] = ()
    selection: tuple[Selection, ...] = ()
    calibration: tuple[ZoneCalibration, ...] = ()

    def zone(self, task: str, length: int) -> Zone:
        """The zone of a length: for the main task as the group has it, for others in distribution or beyond."""
        group = load_suite(self.suite, self.draft).group(self.source.group)
        if task == group.main:
            return group.zone(length)
        return "in_distribution" if length <= self.source.tasks[task] else "beyond"

    def done(self, task: str, length: int) -> bool:
        """Whether a cell is done."""
        return any((each.task, each.length) == (task, length) for each in self.cells)

    def find(self, task: str, length: int) -> ScoredCell:
        """The replies of a cell."""
        return next(each for each in self.cells if (each.task, each.length) == (task, length))

    def frame(self) -> pd.DataFrame:
        """A row for each reply, with its scores."""
        import pandas as pd

        from lgbench.analysis.scored import SCALE

        parts = [
            pd.DataFrame(
                {"task": each.task, "length": each.length, "right": each.right}
                | {name: [value / SCALE for value in values] for name, values in each.scores.items()}
            )
            for each in self.cells
        ]
        return pd.concat(parts, ignore_index=True)

    def answers(self, question: Literal["novelty", "selection", "calibration"]) -> pd.DataFrame:
        """A row for each answer to a question; intervals are columns that end in `_low` and `_high`."""
        import pandas as pd

        asked: tuple[Strict, ...] = {
            "novelty": self.novelty,
            "selection": self.selection,
            "calibration": self.calibration,
        }[question]
        return pd.DataFrame(_flat(each) for each in asked)


def _flat(answer: Strict) -> dict[str, object]:
    row: dict[str, object] = {}
    for name in type(answer).model_fields:
        value = getattr(answer, name)
        if isinstance(value, Known):
            row |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        else:
            row[name] = value
    return row
