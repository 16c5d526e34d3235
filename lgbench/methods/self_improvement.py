"""Self-improvement: a model labels longer prompts in rounds, and trains on its own labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lgbench.training.method import Method
from lgbench.training.planned import Division
from lgbench.training.spec import MOST_LENGTH, RunSpec
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.training.hooks import Hook

_Steps = Annotated[int, Field(ge=0, le=10_000_000)]


class SelfImprovement(Method):
    """Self-improvement: in each round the model labels main prompts one length longer, and trains on them too.

    Lee et al. (2025, arXiv 2502.01612). After the arm's own steps come rounds. Each round draws prompts of the main
    task, one length longer than in the round before and outside every test and dev cell. The model answers them
    greedily, filters drop some of the answers, and training continues. Half of the examples have the newest labels;
    the other half come from the arm's mixture and the earlier rounds, where each earlier round has weight 1 and the
    mixture has the number of main-task lengths in it as its weight. In every round the learning rate starts at its
    highest and decays to a hundredth.

    Filters: `length` drops replies that are two or more tokens shorter than the longest; `vote` keeps a reply on which
    70 % of several models agree. These models start from different seeds and train side by side on the same examples
    and, unlike in the paper, the same questions. `confidence` drops unlikely replies. `labels=true` trains on true
    targets, an upper bound that cannot be submitted; `labels=none` takes the same steps without new labels, the lower
    bound.
    """

    division: ClassVar[Division] = "open"

    rounds: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=12, description="Number of rounds; 0 for the plain run."
    )
    questions: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=1000, description="Prompts to label in each round."
    )
    round_steps: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        default=300, description="Training steps in each round."
    )
    round_decay: _Steps = Field(
        default=150, description="Steps at the end of each round in which the learning rate decays."
    )
    base_steps: _Steps | None = Field(
        default=None,
        description="Steps before the first round; those of the plain run if not given, or 0 with --start.",
    )
    labels: Literal["own", "true", "none"] = Field(
        default="own", description="The labels: the model's own, true, or none for no new examples."
    )
    filter: Literal["none", "length", "vote", "vote+length"] = Field(
        default="none", description="Which labels are dropped: none, or by length, vote or vote+length."
    )
    short_by: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=2, description="With length: drop replies that are at least this many tokens shorter than the longest."
    )
    voters: Annotated[int, Field(ge=1, le=25)] = Field(
        default=5, description="With vote: the number of models, this one included."
    )
    agreement: Annotated[float, Field(gt=0.5, le=1)] = Field(
        default=0.7, description="With vote: the smallest share of voters that must agree."
    )
    confidence: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Drop replies to which the model gives a lower probability."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.votes and self.voters < 3:
            raise ValueError(f"a vote needs 3 models or more, not voters={self.voters}")
        if self.round_decay > self.round_steps:
            raise ValueError(f"round_decay={self.round_decay} is more than round_steps={self.round_steps}")
        return self

    @property
    def votes(self) -> bool:
        """Whether several models vote."""
        return self.filter.startswith("vote")

    def base(self, plan: RunSpec) -> int:
        """Steps before the first round, of a plan with or without the rounds."""
        if self.base_steps is not None:
            return self.base_steps
        if plan.start is not None:
            return 0
        return plan.settings.steps - plan.settings.rounds * plan.settings.round_steps

    def planned(self, plan: RunSpec) -> RunSpec:
        """The same run with the steps of the rounds at its end.

        Raises:
            LgbenchError: The arm has stages, or the main task has no prompts that long.
        """
        if not self.rounds:
            return plan
        if plan.stages:
            raise LgbenchError(f"The method self-improvement needs an arm without stages, not {plan.mixture}.")
        if self.votes and plan.start is not None:
            raise LgbenchError("Models that all start from one checkpoint cannot vote: leave --start out.")
        longest = plan.mixture.tasks[plan.suite_group.main] + self.rounds
        if longest > MOST_LENGTH:
            raise LgbenchError(f"{self.rounds} rounds lead to length {longest}; at most {MOST_LENGTH} is trained on.")
        plan.loaded_suite.task(plan.suite_group.main).check_length(longest)
        base = self.base(plan)
        return plan.with_settings(
            steps=base + self.rounds * self.round_steps,
            rounds=self.rounds,
            round_steps=self.round_steps,
            round_decay=self.round_decay,
        )

    def answers_beyond(self, plan: RunSpec) -> str:
        """The true labels of the upper bound."""
        return "labels=true trains on true targets of longer inputs" if self.rounds and self.labels == "true" else ""

    def hooks(self, plan: RunSpec) -> Sequence[Hook]:
        """The one that makes the labels."""
        if not self.rounds:
            return ()
        from lgbench.methods.self_training import SelfTraining

        return [SelfTraining(self, plan)]
