"""What the hooks of a run changed about the data that it trains on, as `training.json` records it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from lgbench.data.mixtures import Part, PoolPart
from lgbench.results.schema import Sha256, Text
from lgbench.training.settings import Natural, Positive
from lgbench.training.spec import TrainedPart
from lgbench.util.records import json_line


class Triple(NamedTuple):
    """An example of a pool, or of a data source."""

    task: str
    prompt: str
    target: str


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PooledPart(_Record):
    """A pool, and its share of the examples, as in "1/4"."""

    pool: Text
    share: Annotated[Fraction, Field(gt=0, le=1)]


class MixtureChange(_Record):
    """Another mixture.

    Attributes:
        step: How many steps were done: those that follow train on it.
        parts: What they train on.
    """

    step: Natural
    parts: tuple[TrainedPart | PooledPart, ...]

    @property
    def mixed(self) -> tuple[Part | PoolPart, ...]:
        """The parts as they are drawn from."""
        return tuple(
            PoolPart(part.pool, part.share)
            if isinstance(part, PooledPart)
            else Part(part.task, part.max_length, part.share)
            for part in self.parts
        )


class PoolChange(_Record):
    """Examples that were added to a pool.

    Attributes:
        step: How many steps were done.
        pool: The pool.
        examples: How many were added.
        sha256: Over one JSON line `[task, prompt, target]` for each.
    """

    step: Natural
    pool: Text
    examples: Positive
    sha256: Sha256


DataChange = MixtureChange | PoolChange


def triples_sha256(examples: Sequence[Triple]) -> str:
    """What a `PoolChange` records of its examples."""
    return hashlib.sha256(b"".join(json_line(*each) for each in examples)).hexdigest()
