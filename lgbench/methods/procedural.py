"""Pretraining on procedural data before the arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from lgbench.methods.parts import PartName
from lgbench.methods.rules import SAME_TASK, RuleName
from lgbench.training.method import Method
from lgbench.training.planned import Division
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.training.hooks import Hook

_Count = Annotated[int, Field(ge=1, le=1_000_000)]


class Procedural(Method):
    """Pretraining on procedural data, of which some parts are kept and the rest is fresh; then the arm as usual.

    Shinnick et al. (2025, arXiv 2505.22308); Hu et al. (2025, arXiv 2502.19249) for Dyck words. Before the first step
    of the arm a model of the same shape and seed is trained on a rule: identity, reverse, set, sort, union, delete,
    stack, dyck, dyck-shuffle or eca-110. It is AdamW at a constant rate, on rows of 2 to `length` symbols. All of its
    weights, or its attention, feed-forward layers, norms or embedding, are then put in the place of the fresh ones, and
    everything is trained. Tokens that the rule does not use, such as the tasks' tags, keep their fresh embedding. A
    second rule, pretrained apart, can give another part.

    In a group that has the same task, `identity` (as `string_copy`) and `reverse` give answers to longer inputs than
    the arm's; such a run cannot be submitted.

    The controls say whether it is the structure that helps: `shuffle` permutes the entries of each tensor, `noise` adds
    Gaussian noise to them, and `data` trains on answers in random order.
    """

    division: ClassVar[Division] = "open"

    rule: RuleName | Literal["none"] = Field(
        default="identity", description="The rule to pretrain on; none for the plain run."
    )
    parts: PartName = Field(
        default="attention", description="The weights that are kept: all, attention, feed_forward, norms or embedding."
    )
    second_rule: RuleName | None = Field(
        default=None, description="Another rule to pretrain on, which gives second_parts."
    )
    second_parts: PartName | None = Field(default=None, description="The weights that are kept from the second rule.")
    steps: _Count = Field(default=2000, description="Steps of pretraining on each rule.")
    batch: _Count = Field(default=64, description="Rows in a pretraining step.")
    length: Annotated[int, Field(ge=2, le=200)] = Field(
        default=32, description="The largest number of symbols in a row's input."
    )
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(
        default=5e-4, description="Learning rate of pretraining: constant, without warm-up."
    )
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(
        default=0.1, description="Weight decay of pretraining, on matrices only."
    )
    control: Literal["none", "shuffle", "noise", "data"] = Field(
        default="none",
        description="A control: none; shuffle or noise, for the weights; data, for the answers.",
    )
    noise: Annotated[float, Field(gt=0, le=100)] = Field(
        default=1.0, description="With control=noise: its size, in standard deviations of each tensor."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.second_rule is None) != (self.second_parts is None):
            raise ValueError("second_rule and second_parts go together")
        if self.second_rule is not None and (self.rule == "none" or self.second_parts == self.parts):
            raise ValueError("the second rule must give another part than the first")
        if self.second_rule is not None and self.second_rule == self.rule:
            raise ValueError("the second rule must be another one than the first")
        if self.second_parts is not None and "all" in (self.parts, self.second_parts):
            raise ValueError("with parts=all nothing is left for another rule")
        return self

    @property
    def sources(self) -> list[tuple[RuleName, PartName]]:
        """Each rule, and what is kept of it."""
        if self.rule == "none":
            return []
        found = [(self.rule, self.parts)]
        if self.second_rule is not None and self.second_parts is not None:
            found.append((self.second_rule, self.second_parts))
        return found

    def planned(self, plan: RunSpec) -> RunSpec:
        """The same plan: pretraining comes before its first step.

        Raises:
            LgbenchError: The model is a user's own, starts from a checkpoint, or its vocabulary has too few symbols.
        """
        if self.sources:
            if plan.other_model is not None:
                raise LgbenchError(
                    f"The method procedural knows the parts of the reference model, not of {plan.model}."
                )
            if plan.start is not None:
                raise LgbenchError("The method procedural gives the weights to start from: leave --start out.")
            from lgbench.methods.rules import Alphabet
            from lgbench.models.tokenizer import suite_vocabulary

            Alphabet.of(suite_vocabulary(plan.loaded_suite))
        return plan

    def answers_beyond(self, plan: RunSpec) -> str:
        """A rule that is a task of the group, on longer inputs than the arm's."""
        group, trained = plan.suite_group, plan.mixture.tasks
        for rule, _ in self.sources:
            task = SAME_TASK.get(rule)
            if task in (group.main, *group.auxiliaries) and self.length > trained.get(task, 0):
                return f"the rule {rule} is the group's task {task}, with up to {self.length} symbols"
        return ""

    def hooks(self, plan: RunSpec) -> Sequence[Hook]:
        """The one that pretrains."""
        if not self.sources:
            return ()
        from lgbench.methods.pretraining import Pretraining

        return [Pretraining(self)]
