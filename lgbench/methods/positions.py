"""Other encodings of the positions of tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lgbench.models.architecture import MAX_SIZE, Position
from lgbench.training.method import Method
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError


class Positions(Method):
    """The reference model with another encoding of positions.

    - `rope`: each head turns with the position (Su et al., 2021, arXiv 2104.09864).
    - `half-rope`: only half of each head turns, as in GPT-NeoX (Black et al., 2022, arXiv 2204.06745).
    - `alibi`: attention falls with the distance, in each head by another slope (Press et al., 2022, arXiv 2108.12409).
    - `nope`: none but the causal mask (Kazemnejad et al., 2023, arXiv 2305.19466).

    With a `range`, the positions of each row in training are random increasing numbers below it, so that distances up
    to it are trained on short rows too (Ruoss et al., 2023, arXiv 2305.16843). In evaluation they are evenly spaced, so
    that 256 tokens span the range: a model that writes does not know how long its row will be. So that this spacing
    occurs in training, a row there spans a random part of the range, and not all of it as in the paper.
    """

    encoding: Position = Field(default="rope", description="The position encoding: rope, half-rope, alibi or nope.")
    range: Annotated[int, Field(ge=0, le=MAX_SIZE)] = Field(
        default=0, description="With rope and half-rope: train with random positions below this; 0 for 0, 1, 2, ..."
    )

    def planned(self, plan: RunSpec) -> RunSpec:
        """The same run with these positions.

        Raises:
            LgbenchError: The model is a user's own, or has no such positions.
        """
        if plan.other_model is not None:
            raise LgbenchError(f"The method positions is for the reference model, not for {plan.model}.")
        return plan.with_settings(position=self.encoding, position_range=self.range)
