"""Other shares of the arm's tasks, fixed before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, field_validator

from lgbench.training.method import Method
from lgbench.training.planned import Division
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    from lgbench.data.mixtures import Part
    from lgbench.training.hooks import Hook
    from lgbench.training.spec import RunSpec

_MOST_DENOMINATOR = 100


class Shares(Method):
    """The arm's tasks and lengths with another share of the main task, fixed before the first step.

    The other tasks keep their proportions among each other. A grid of such shares is what a method that changes shares
    while it trains has to beat: Chen et al. (Aioli, arXiv 2411.05735) find none that beats fixed shares consistently.
    """

    division: ClassVar[Division] = "open"

    main: Annotated[Fraction | None, Field(gt=0, lt=1)] = Field(
        default=None, description="The main task's share of the examples, as in 1/2 or 0.2; the arm's own if not given."
    )

    @field_validator("main")
    @classmethod
    def _is_simple(cls, share: Fraction | None) -> Fraction | None:
        if share is not None and share.denominator > _MOST_DENOMINATOR:
            raise ValueError(f"must be a fraction with a denominator of at most {_MOST_DENOMINATOR}")
        return share

    def planned(self, plan: RunSpec) -> RunSpec:
        """The same plan: the arm's list is changed before the first step."""
        if self.main is not None:
            self.parts(plan)
        return plan

    def parts(self, plan: RunSpec) -> tuple[Part, ...]:
        """The arm's list with the other share.

        Raises:
            LgbenchError: The arm has stages or one task only.
        """
        assert self.main is not None
        main, *others = plan.mixture.parts or (None,)
        if main is None or not others:
            raise LgbenchError(
                f"The method shares needs an arm with several tasks all the time: {plan.arm} of {plan.group} trains "
                f"{plan.mixture}. Leave that arm out, as in --arm transfer,control, and take its plain runs."
            )
        rest = sum(part.share for part in others)
        changed = [part._replace(share=part.share / rest * (1 - self.main)) for part in others]
        return (main._replace(share=self.main), *changed)

    def hooks(self, plan: RunSpec) -> Sequence[Hook]:
        """The one that changes the list."""
        if self.main is None:
            return ()
        from lgbench.methods.mixing import SetMixture

        return [SetMixture(self.parts(plan))]
