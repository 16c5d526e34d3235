"""A state-space model in the place of the transformer."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from lgbench.training.method import Method
from lgbench.training.settings import changed_settings
from lgbench.training.spec import RunSpec
from lgbench.util.errors import LgbenchError

_BUILD = "lgbench.models.state_space:build"
_Size = Annotated[int, Field(ge=1, le=100_000)]


class StateSpace(Method):
    """A state-space model, Mamba-2, in the place of the reference transformer, on the same examples.

    Dao and Gu (2024, arXiv 2405.21060). Its memory of a row has a fixed size, and nothing encodes positions. With twice
    as many blocks as the transformer it has about as many parameters, as a block has no feed-forward layer. The step is
    the plain one: the packed one is the transformer's.
    """

    layers: _Size | None = Field(default=None, description="Number of blocks; twice the transformer's if not given.")
    width: _Size | None = Field(
        default=None, description="Width of the residual stream; the transformer's if not given."
    )
    heads: _Size = Field(default=8, description="Heads in a block; the number must divide twice the width.")
    state: _Size = Field(
        default=32, description="State size: that of the keys with which the memory is written and read."
    )

    def planned(self, plan: RunSpec) -> RunSpec:
        """The same run of the other model.

        Raises:
            LgbenchError: The run has another model already, or the heads do not fit.
        """
        if plan.other_model is not None:
            raise LgbenchError(f"The method state-space brings its own model: leave --model {plan.model} out.")
        settings = plan.settings
        width = self.width or settings.width
        if 2 * width % self.heads:
            raise LgbenchError(f"--method-option heads={self.heads} must divide twice the width, {2 * width}, evenly.")
        sizes = {"layers": self.layers or 2 * settings.layers, "width": width, "heads": self.heads, "state": self.state}
        if settings.packed:
            settings = changed_settings(settings, {"packed": False, "length_chunks": 2})
        options = {name: str(size) for name, size in sizes.items()}
        return plan.model_copy(update={"model": _BUILD, "model_options": options, "settings": settings})
