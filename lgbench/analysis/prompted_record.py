"""The record of `lgbench analyze superposition hf:...`, and its table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from lgbench.analysis.mixtures import MixedAnswers
from lgbench.analysis.records import ProbeRecord, Share
from lgbench.results.schema import Name, Sha256, Text
from lgbench.util.tables import Table

if TYPE_CHECKING:
    import pandas as pd

TASKS = ("first", "second", "sum")
Shares = tuple[Share, Share, Share]
USUAL: tuple[Shares, ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1 / 3, 1 / 3, 1 / 3))
"""Each task alone, and the paper's mixture."""
_Count = Annotated[int, Field(ge=1, le=10_000)]


class PromptedRecord(ProbeRecord):
    """The content of `superposition.json` of a Hugging Face model.

    Attributes:
        analysis: Always `prompted-superposition`.
        model: As named by the user.
        weights_sha256: Over all its weights.
        tasks: In the order of the mixtures' entries.
        demonstrations: Lines of a prompt before its question.
        prompts: Of each mixture.
        asked: The shares of the tasks in each mixture, as asked for.
        mixtures: Those that are done.
    """

    analysis: Literal["prompted-superposition"] = "prompted-superposition"
    model: Text
    weights_sha256: Sha256
    tasks: tuple[Name, Name, Name] = TASKS
    demonstrations: _Count
    prompts: _Count
    asked: tuple[Shares, ...]
    mixtures: tuple[MixedAnswers, ...] = ()

    def frame(self) -> pd.DataFrame:
        """A row for each mixture and task."""
        from lgbench.scoring.frames import frame

        return frame(
            {"mixture": number, "task": task, "share": each.shares[at], "probability": each.probabilities[at]}
            | {"deviation": each.deviations[at], "greedy": each.greedy[at], "other": each.other}
            | {"divergence": each.divergence, "mean_divergence": each.mean_divergence}
            for number, each in enumerate(self.mixtures)
            for at, task in enumerate(self.tasks)
        )


def tabulate_prompted(record: PromptedRecord) -> list[Table | str]:
    """A row for each mixture."""
    columns = [*(f"{task} in %" for task in record.tasks), *(f"P({task})" for task in record.tasks), "other"]
    rows = [
        [
            *(f"{100 * share:.0f}" for share in each.shares),
            *(f"{value:.3f}" for value in (*each.probabilities, each.other)),
            *(f"{100 * value:.0f}" for value in each.greedy),
            f"{each.divergence:.2f}",
            f"{each.mean_divergence:.2f}",
        ]
        for each in record.mixtures
    ]
    title = (
        f"Probability of each task's answer to A@B= behind {record.demonstrations} examples, "
        f"{record.prompts} prompts of each mixture"
    )
    return [
        Table(title, [*columns, *(f"writes {task} in %" for task in record.tasks), "KL", "of a prompt"], rows, text=0)
    ]
