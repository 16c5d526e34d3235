"""R&B: domains regrouped and balanced while a run trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from lgbench.training.method import Method
from lgbench.training.planned import Division
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.training.hooks import Hook

_Count = Annotated[int, Field(ge=1, le=100_000)]


class RnB(Method):
    """R&B: the shares of domains follow the inner products of their gradients, round by round.

    Ge et al. (2025, arXiv 2505.00358). A domain is a task at a range of lengths, a task, or a cluster of (task, length)
    cells. In a round of steps, each domain's gradients of the output layer are summed. At its end the shares become
    softmax(strength * G p / |G p|), where G holds the inner products of the domains' mean gradients and p is what
    counts: all domains alike, or those of the main task. The first round draws all domains alike. Examples are those of
    the arm's stream, each domain's in their order.

    Lengths beyond the arm's have no examples and cannot be in p, which is the paper's own limit: `target=main`
    comes closest.
    Clusters are of cells, not of single examples as in the paper, for each new example would have to be embedded.
    """

    division: ClassVar[Division] = "open"

    domains: Literal["task-length", "task", "clusters"] = Field(
        default="task-length",
        description="What a domain is: task-length, task, or clusters, which are found after `warm` steps.",
    )
    buckets: _Count = Field(
        default=3, description="With domains=task-length: the number of length ranges of each task."
    )
    features: Literal["hidden", "gradient"] = Field(
        default="hidden",
        description="With domains=clusters: cluster by the mean final hidden state, or by the gradient.",
    )
    warm: Annotated[int, Field(ge=0)] = Field(
        default=300, description="With domains=clusters: steps on the arm's own stream before clustering."
    )
    target: Literal["uniform", "main"] = Field(
        default="uniform", description="What to improve: every domain alike, or the main task's."
    )
    strength: Annotated[float, Field(ge=0, le=1000)] = Field(
        default=3.0, description="How strongly the shares follow the gradients: the paper's lambda."
    )
    round_steps: Annotated[int, Field(ge=0, le=100_000)] = Field(
        default=50, description="Steps in a round; 0 for the plain run."
    )
    every: _Count = Field(default=5, description="Use the gradients of every N-th step; the paper uses each.")
    floor: Annotated[float, Field(ge=0, le=0.1)] = Field(default=0.01, description="The smallest share of a domain.")

    def planned(self, plan: RunSpec) -> RunSpec:
        """The same plan: the shares change while it trains.

        Raises:
            LgbenchError: The arm has stages, or a domain would have no example.
        """
        if self.round_steps:
            from lgbench.methods.domains import by_task

            if plan.stages:
                raise LgbenchError(f"The method rnb needs an arm without stages: {plan.arm} trains {plan.mixture}.")
            if plan.settings.compile:
                raise LgbenchError(
                    "The method rnb reads gradients on the way, which compiled code hides: add --set compile=false."
                )
            if self.every > self.round_steps:
                raise LgbenchError(
                    f"--method-option every={self.every} would take no gradient in a round of {self.round_steps} steps."
                )
            if self.domains != "clusters":
                found = by_task(plan.loaded_suite, plan.mixture.parts, self.buckets if self.domains != "task" else 1)
                if len(found) * self.floor >= 1:
                    raise LgbenchError(f"{len(found)} domains cannot each have a share of {self.floor} at least.")
            elif self.warm == 0:
                raise LgbenchError("--method-option warm=0 leaves no steps after which cells could be clustered.")
            elif self.warm >= plan.settings.steps:
                raise LgbenchError(f"--method-option warm={self.warm} leaves none of {plan.settings.steps} steps.")
            else:
                from lgbench.methods.regroup import MOST_CLUSTERS

                if MOST_CLUSTERS * self.floor >= 1:
                    raise LgbenchError(
                        f"--method-option floor={self.floor} is too much: there may be {MOST_CLUSTERS} clusters."
                    )
        return plan

    def hooks(self, plan: RunSpec) -> Sequence[Hook]:
        """The one that draws by shares and changes them."""
        if not self.round_steps:
            return ()
        from lgbench.methods.rounds import Balancing

        return [Balancing(self, plan)]
