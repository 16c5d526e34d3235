"""What the records of all analyses contain: the version that wrote them, the model and the examples."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from lgbench.results.schema import Count, Draft, Name, PromptStyle, Seed, Sha256, Text
from lgbench.util.errors import LgbenchError
from lgbench.util.files import write_errors
from lgbench.util.records import read_record, write_record
from lgbench.version import __version__

MAX_BYTES = 50_000_000
"""The largest file of a record. Maps of many heads, tasks and lengths are larger than a result."""
_Kind = TypeVar("_Kind", bound="ProbeRecord")
Share = Annotated[float, Field(ge=0, le=1)]


class Strict(BaseModel):
    """A frozen part of a record, without unknown fields and without conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProbeRecord(Strict):
    """What all records contain, including those of analyses whose prompts are not from a suite.

    Attributes:
        schema_version: Of the format.
        lgbench: The version of this package.
    """

    schema_version: Literal[1] = 1
    lgbench: Name = __version__


class AnalysisRecord(ProbeRecord):
    """What the records of analyses of a suite's tasks contain.

    Attributes:
        suite: The suite's name.
        draft: Where a draft suite came from; null for a published one.
    """

    suite: Name
    draft: Draft | None = None


class ModelSource(Strict):
    """The model that was analyzed.

    Attributes:
        model: As named by the user.
        weights_sha256: Of the file of its weights; of a Hugging Face model, over all files.
        group: The group that it was trained on, or whose tasks it is asked.
        arm: How it was trained; `open` where that is not known.
        seed: Its training seed; null where it is not known.
        steps: Training steps done; null where it is not known.
        prompt: How a Hugging Face model is asked; null for a reference model.
        layers: Number of blocks.
        heads: Attention heads of a block.
        tasks: The tasks that it was trained on, each with its greatest training length.
    """

    model: Text
    weights_sha256: Sha256
    group: Name
    arm: Name
    seed: Seed | None
    steps: Count | None
    prompt: PromptStyle | None = None
    layers: Annotated[int, Field(ge=1)]
    heads: Annotated[int, Field(ge=1)]
    tasks: dict[Name, Count]


class DataCell(Strict):
    """The examples of a task at a length that an analysis asked about.

    Attributes:
        task: The task.
        length: The length.
        examples: Number of examples.
        sha256: Over one JSON line `[prompt, target]` for each, in order.
    """

    task: Name
    length: Annotated[int, Field(ge=1)]
    examples: Annotated[int, Field(ge=1)]
    sha256: Sha256


def read_analysis(path: Path, kind: type[_Kind]) -> _Kind:
    """Read the record of an analysis.

    Raises:
        InvalidFileError: It is missing, too large, no strict JSON, or does not fit.
    """
    return read_record(path, kind, max_bytes=MAX_BYTES)


def write_analysis(path: Path, record: ProbeRecord) -> None:
    """Write the record of an analysis, whole or not at all, and make its folder.

    Raises:
        LgbenchError: It cannot be written.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, record)


def resume_analysis(path: Path | None, record: _Kind, fields: Iterable[str]) -> _Kind:
    """The record of an interrupted analysis, or the given one if nothing was written.

    Args:
        path: The file of the record; None if the analysis writes none.
        record: The record of this analysis before its first part.
        fields: The fields in which both must be the same.

    Raises:
        LgbenchError: They differ in one of these fields.
        InvalidFileError: The file cannot be read as such a record.
    """
    if path is None or not path.exists():
        return record
    found = read_analysis(path, type(record))
    for name in fields:
        if getattr(found, name) != getattr(record, name):
            raise LgbenchError(
                f"{str(path)!r} holds another analysis: its {name.replace('_', ' ')} is {getattr(found, name)}, not "
                f"{getattr(record, name)}. Give another folder with --output."
            )
    return found
