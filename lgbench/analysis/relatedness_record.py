"""The record of `analyze relatedness`: how related two tasks are in a model, by several measures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from lgbench.analysis.records import AnalysisRecord, DataCell, ModelSource, Share, Strict
from lgbench.results.schema import Name

if TYPE_CHECKING:
    import pandas as pd

Finite = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[int, Field(ge=1)]


class Mixed(Strict):
    """What a model writes when the tag is a mixture of those of two tasks.

    Attributes:
        second_share: Of the second task's tag; the rest is the first's.
        first_right: The share of examples whose target of the first task is the likeliest, token by token.
        second_right: The share of the second task's targets that are right.
        either_right: Of one of them.
        first_logprob: Mean log-probability of a token of the first task's target.
        second_logprob: Of the second's.
    """

    second_share: Share
    first_right: Share
    second_right: Share
    either_right: Share
    first_logprob: Finite
    second_logprob: Finite


class Relation(Strict):
    """How related two tasks are. Measures that need tasks with the same prompts are null for others.

    Attributes:
        first: A task.
        second: Another.
        same_prompts: Whether they read the same ones.
        gradient_cosine: Of the two losses, over all weights.
        gradient_ceiling: Of the losses of one task on two halves of its examples: the mean of both tasks.
        affinity: The relative decrease of the second task's loss after a step of gradient descent on the first.
        affinity_back: The same for the first task after a step on the second.
        head_maps: Spearman's correlation of the head maps by resampling.
        alignment: Linear CKA of the states after each layer, at the positions that write the target.
        attention: The mean total variation distance of the attention, from 0 for equal to 1.
        mixtures: By the share of the second task's tag.
    """

    first: Name
    second: Name
    same_prompts: bool
    gradient_cosine: Finite
    gradient_ceiling: Finite
    affinity: Finite
    affinity_back: Finite
    head_maps: Finite
    alignment: tuple[Share, ...] | None
    attention: Share | None
    mixtures: tuple[Mixed, ...] | None

    @property
    def least_mixed(self) -> float | None:
        """The least share, over all mixtures of the tags, of examples of which one of the targets is written."""
        return None if self.mixtures is None else min(each.either_right for each in self.mixtures)


class RelatednessRecord(AnalysisRecord):
    """The content of `relatedness.json`.

    Attributes:
        analysis: Always `relatedness`.
        source: The model.
        examples: Of each task and length.
        step: The learning rate of the step of `affinity`.
        tasks: The main task first.
        lengths: Ascending; all in distribution for every task.
        data: What was asked.
        relations: Of each pair of tasks.
    """

    analysis: Literal["relatedness"] = "relatedness"
    source: ModelSource
    examples: Positive
    step: Annotated[float, Field(gt=0)]
    tasks: tuple[Name, ...]
    lengths: tuple[Positive, ...]
    data: tuple[DataCell, ...]
    relations: tuple[Relation, ...]

    def frame(self) -> pd.DataFrame:
        """A row for each pair of tasks; of the layers' alignment the mean."""
        import pandas as pd

        return pd.DataFrame(
            each.model_dump(exclude={"alignment", "mixtures"})
            | {
                "alignment": None if each.alignment is None else sum(each.alignment) / len(each.alignment),
                "least_mixed": each.least_mixed,
            }
            for each in self.relations
        )

    def mixtures(self) -> pd.DataFrame:
        """A row for each pair of tasks with the same prompts and each mixture of their tags."""
        import pandas as pd

        return pd.DataFrame(
            {"first": each.first, "second": each.second} | mixed.model_dump()
            for each in self.relations
            for mixed in each.mixtures or ()
        )
