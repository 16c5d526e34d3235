"""The parts of a plan that name files of the user's: hooks, a method, and the checkpoint that a run starts from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lgbench.models.folders import checkpoint_folder
from lgbench.models.loading import check_texts
from lgbench.results.schema import Sha256, Text
from lgbench.util.errors import LgbenchError
from lgbench.util.files import sha256_of
from lgbench.util.users_code import split_place

Division = Literal["closed", "open"]
"""Whether a run trains on its arm's published stream, in order, from fresh weights, or in any other way."""


class PlannedHook(BaseModel):
    """A hook by name.

    Attributes:
        name: One of `lgbench.training.hooks.HOOKS`, or the user's, as given to `--hook`.
        options: Its options, as text.
        sha256: Of the user's file, where it is `file.py:attribute`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    options: dict[str, Text] = {}
    sha256: Sha256 | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two hooks the same, however the path of the file is spelled."""
        return (self.name if self.sha256 is None else split_place(self.name)[1], self.options, self.sha256)

    def __str__(self) -> str:
        options = ", ".join(f"{key}={text}" for key, text in self.options.items())
        return f"{self.name} ({options})" if options else self.name


class PlannedMethod(BaseModel):
    """A method by name.

    Attributes:
        name: One of `lgbench.methods.registry.METHODS`, or the user's, as given to `--method`.
        options: Every option as text, defaults included.
        division: The division that it declares.
        sha256: Of the user's file, where it is `file.py:attribute`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Text
    options: dict[str, Text] = {}
    division: Division
    sha256: Sha256 | None = None

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two methods the same, however the path of the file is spelled."""
        return (self.name if self.sha256 is None else split_place(self.name)[1], self.options, self.sha256)

    def __str__(self) -> str:
        options = ", ".join(f"{key}={text}" for key, text in self.options.items())
        return f"{self.name} ({options})" if options else self.name


class Start(BaseModel):
    """The checkpoint that a run starts from. What it does not give is as fresh as in any run of the same seed.

    Attributes:
        folder: As given to `--start`.
        sha256: Of its `model.safetensors`.
        parts: Patterns of the names of parameters that are taken, such as `blocks.*.attention.*`; empty for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Text
    sha256: Sha256
    parts: Annotated[tuple[Text, ...], Field(max_length=1000)] = ()

    @property
    def identity(self) -> tuple[Any, ...]:
        """What makes two starts the same, wherever the checkpoint is."""
        return (self.sha256, self.parts)

    def __str__(self) -> str:
        parts = f" of {self.folder}" if self.parts else self.folder
        return f"{', '.join(self.parts)}{parts} (SHA-256 {self.sha256[:12]}...)"


def hooks_difference(old: Sequence[PlannedHook], new: Sequence[PlannedHook]) -> str:
    """Where the hooks of two plans differ, in words."""
    for before, after in zip(old, new, strict=False):
        if (before.identity[0], before.options) == (after.identity[0], after.options) and before.sha256 != after.sha256:
            return f"the file of the hook {after.name} has changed since"
    there, here = (", ".join(map(str, hooks)) or "none" for hooks in (old, new))
    return f"its hooks are {there} there and {here} here"


def planned_start(folder: str | None, parts: Sequence[str] = ()) -> Start | None:
    """The checkpoint that a user wants a run to start from; None where none is named.

    Args:
        folder: As given to `--start`: a checkpoint, or the folder of the run that it is in.
        parts: As given to `--start-parts`.

    Raises:
        LgbenchError: There is no checkpoint in the folder, or parts are given without one.
    """
    if folder is None:
        if parts:
            raise LgbenchError(f"--start-parts {parts[0]} needs --start FOLDER, the checkpoint that has these parts.")
        return None
    check_texts({"--start": folder} | {f"--start-parts {part!r}": part for part in parts})
    return Start(folder=folder, sha256=weights_sha256(folder), parts=tuple(parts))


def weights_sha256(folder: str) -> str:
    """The SHA-256 of the weights of a checkpoint.

    Raises:
        LgbenchError: There are none.
    """
    from lgbench.models.checkpoint import WEIGHTS, read_checkpoint_record  # loads PyTorch

    place = checkpoint_folder(folder)
    read_checkpoint_record(place)
    if not (path := place / WEIGHTS).is_file():
        raise LgbenchError(f"The checkpoint {str(place)!r} has no {WEIGHTS}. Copy the whole folder again.")
    return sha256_of(path)


def start_folder(start: Start) -> Path:
    """The folder of the checkpoint, after making sure that its weights are those that were planned with.

    Raises:
        LgbenchError: They are not, or there are none.
    """
    if (found := weights_sha256(start.folder)) != start.sha256:
        raise LgbenchError(
            f"The run starts from other weights than those in {start.folder!r}: their SHA-256 is {found}, planned is "
            f"{start.sha256}. Name the folder that holds these."
        )
    return checkpoint_folder(start.folder)
