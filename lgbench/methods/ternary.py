"""Weights that are -s, 0 or s."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from lgbench.training.method import Method
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.training.hooks import Hook

_Share = Annotated[float, Field(ge=0, le=1)]


class Ternary(Method):
    """Ternary weights: every matrix of the blocks is rounded to -s, 0 or s wherever it is used, in training too.

    TriLM (Kaushal et al., 2024, arXiv 2407.12327). The scale s of a matrix W is 1e-5 + mean |W|; W / s is cut to [-1,
    1] and rounded. The optimizer steps the unrounded W by the straight-through gradient. Embedding, norms and output
    stay float, and so do activations. The learning rate is higher than in float and falls linearly after the warm-up;
    at half of the steps it is cut once more, and after two thirds weights no longer decay.

    `lgbench export ternary` packs the trained model to 2.0625 or 1.6875 bits a weight, with equal replies. The baseline
    that should fail is the same command on a float model: rounding after training.
    """

    rounding: Literal["ternary", "none"] = Field(default="ternary", description="ternary, or none for float weights.")
    rate: Annotated[float, Field(gt=0, le=1000)] = Field(
        default=3.0, description="The factor on the plain run's learning rate."
    )
    cut: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.5, description="A further factor on the learning rate in the second half of the steps."
    )
    decay_until: _Share = Field(default=2 / 3, description="The share of the steps after which weight decay ends.")
    schedule: Literal["linear", "plain"] = Field(
        default="linear", description="The learning rate schedule: linear, or plain for that of the plain run."
    )

    def planned(self, plan: RunSpec) -> RunSpec:
        """The same run with ternary weights and their schedule.

        Raises:
            LgbenchError: The model is a user's own.
        """
        if plan.other_model is not None:
            raise LgbenchError(f"The method ternary is for the reference model, not for {plan.model}.")
        settings = plan.settings
        return plan.with_settings(
            weights=settings.weights if self.rounding == "none" else self.rounding,
            learning_rate=settings.learning_rate * self.rate,
            matrix_learning_rate=settings.matrix_learning_rate * self.rate,
            rate_cut=self.cut,
            decay_until=self.decay_until,
            schedule=settings.schedule if self.schedule == "plain" else self.schedule,
        )

    def hooks(self, plan: RunSpec) -> Sequence[Hook]:
        """The hook that measures zeros and flips."""
        if self.rounding == "none":
            return ()
        from lgbench.methods.trit_counts import TritCounts

        return [TritCounts()]
