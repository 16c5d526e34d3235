"""The schema of an audit, a file of `audits/NAME/`: what maintainers found when they checked a system's models."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lgbench.results.schema import Count, Moment, Name, Sha256, Text
from lgbench.submissions.system import Line
from lgbench.training.record import TrainingRecord

Nonce = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16,64}$")]
Run = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AuditedCell(_Record):
    """What the weights of a run got right of fresh examples: some of one task and length."""

    task: Name
    length: Annotated[int, Field(ge=1)]
    correct: Count
    total: Annotated[int, Field(ge=1, le=10**6)]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.correct > self.total:
            raise ValueError(f"correct ({self.correct}) is more than total ({self.total})")
        return self


class AuditedRun(_Record):
    """A run whose weights were evaluated.

    Attributes:
        run: The name of its folder.
        replies_sha256: Of its result: what was audited.
        weights_sha256: Of its weights.
        cells: Its audit cells.
        asked_again: Test examples of the run that were decoded again.
        changed: How many of their replies were not the posted ones.
    """

    run: Run
    replies_sha256: Sha256
    weights_sha256: Sha256
    cells: Annotated[tuple[AuditedCell, ...], Field(min_length=1, max_length=1000)]
    asked_again: Annotated[int, Field(ge=1, le=10**6)]
    changed: Count

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.changed > self.asked_again:
            raise ValueError(f"changed ({self.changed}) is more than asked_again ({self.asked_again})")
        places = [(cell.task, cell.length) for cell in self.cells]
        if len(set(places)) < len(places):
            raise ValueError("cells has one of them twice")
        return self


class RetrainedRun(_Record):
    """A run that was trained again.

    Attributes:
        run: The name of its folder.
        training_sha256: Of its training record, as `training_digest` has it: what was trained again.
        until: The last step that was compared.
        points: Points of the curve up to there.
        differing: How many of them did not come out equal, to the last digit.
        elsewhere: Whether the machine was of another kind, on which no curve comes out equal.
        zone_correct: Dev examples of the main task in the transfer zone that are right after the last step; null where
            it was not trained so far.
    """

    run: Run
    training_sha256: Sha256
    until: Annotated[int, Field(ge=1)]
    points: Annotated[int, Field(ge=1)]
    differing: Count
    elsewhere: bool
    zone_correct: Count | None


class AuditRecord(_Record):
    """What a maintainer found of a system in a suite, by its weights or by training it again.

    Attributes:
        schema_version: Of this format.
        system: The system.
        suite: The suite.
        auditor: The maintainer who audited.
        moment: The time of the audit.
        lgbench: The version that was used.
        machine: Processor or GPU, and the version of PyTorch.
        nonce: The key of the audit cells, drawn after the submission; null where runs were trained again.
        audited: The runs whose weights were evaluated.
        retrained: The runs that were trained again.
    """

    schema_version: Literal[1] = 1
    system: Name
    suite: Name
    auditor: Line
    moment: Moment
    lgbench: Name
    machine: Text
    nonce: Nonce | None
    audited: Annotated[tuple[AuditedRun, ...], Field(max_length=1000)]
    retrained: Annotated[tuple[RetrainedRun, ...], Field(max_length=1000)]

    @model_validator(mode="after")
    def _is_of_one_kind(self) -> Self:
        if bool(self.audited) == bool(self.retrained):
            raise ValueError("a record is either of audited or of retrained runs: exactly one of the two is empty")
        if bool(self.audited) != (self.nonce is not None):
            raise ValueError("an audit of weights has a nonce, and runs that were trained again have none")
        for name in ("audited", "retrained"):
            runs = [each.run for each in getattr(self, name)]
            if len(set(runs)) < len(runs):
                raise ValueError(f"{name} has a run twice")
        return self


def training_digest(record: TrainingRecord) -> str:
    """The hash by which an audit names a training record: SHA-256 over its JSON."""
    return hashlib.sha256(record.model_dump_json().encode()).hexdigest()
