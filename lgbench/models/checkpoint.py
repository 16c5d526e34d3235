"""A trained model as a folder of two files, `model.safetensors` and `checkpoint.json`.

`checkpoint.json` says which vocabulary the weights were trained with and how to build the module: from an architecture
of the reference model, or by a function of the user's, which is named but never called without being asked for. Weights
that `lgbench finetune` trained are opened where it left the whole model, in the folder beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)
from torch import Tensor, nn

from lgbench.models.architecture import Architecture
from lgbench.models.construction import is_own, load_build
from lgbench.models.folders import MODEL
from lgbench.models.packing import packed_names, packed_weights, unpacked
from lgbench.models.tensors import first_nonfinite, packed, read_shapes, read_tensors
from lgbench.models.tokenizer import MARKS, MOST_TOKENS, PUBLISHED, VOCABULARY_VERSION, Vocabulary
from lgbench.models.transformer import Transformer
from lgbench.models.trits import Packing
from lgbench.results.schema import Seed, Text
from lgbench.util.errors import LgbenchError
from lgbench.util.files import atomic_folder, remove_leftovers, write_atomically
from lgbench.util.links import refuse_links
from lgbench.util.records import read_record, write_record
from lgbench.util.users_code import user_code

WEIGHTS = "model.safetensors"
RECORD = "checkpoint.json"
_LEFT_OUT = ("vocabulary", "build_options")
_PLAIN = {"position_range": 0, "weights": "float", "task_heads": "all", "task_units": "all", "main_tag": None}
"""What most architectures have, and leave out."""
_COPY_AGAIN = "Copy the whole checkpoint folder again, or train again; pickled weights are not read."

Build = Callable[[int], nn.Module]
"""From the vocabulary's size to a module that maps int64 tokens (batch, time) to logits (batch, time, vocabulary)."""


class CheckpointRecord(BaseModel):
    """The content of `checkpoint.json`.

    Attributes:
        format: Always `lgbench-checkpoint`.
        vocabulary_version: Of the tokenizer.
        vocabulary_size: Tokens that it reads and writes: of the published vocabulary, the first of them.
        vocabulary: The text of each token, of a suite with tasks of its own; left out for the published vocabulary.
        architecture: Of a reference model; null for a user's module.
        build: The function that builds a user's module, as given to `--model`; of `lgbench finetune`, the pretrained
            model, as in `hf:FOLDER`; null for a reference model.
        build_options: Its arguments beside the vocabulary's size, as text; left out where there are none.
        suite: What it was trained for.
        group: Likewise.
        arm: Likewise; `open` where it was not trained as the suite's arm is, as in a sweep or an ablation.
        seed: The training seed.
        steps: Training steps done.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["lgbench-checkpoint"] = "lgbench-checkpoint"
    vocabulary_version: int
    vocabulary_size: int = 152
    vocabulary: Annotated[tuple[str, ...], Field(max_length=MOST_TOKENS)] | None = None
    architecture: Architecture | None
    build: str | None
    build_options: dict[str, Text] = {}
    suite: str
    group: str
    arm: str
    seed: Seed
    steps: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _has_its_tokens(self) -> Self:
        if self.vocabulary is None:
            return self
        if self.vocabulary[: len(MARKS)] != MARKS or len(set(self.vocabulary)) < len(self.vocabulary):
            raise ValueError(f"vocabulary must begin with {', '.join(MARKS)} and name each token once")
        if "" in self.vocabulary or len(self.vocabulary) != self.vocabulary_size:
            raise ValueError(f"vocabulary must have vocabulary_size ({self.vocabulary_size}) texts, none of them empty")
        return self

    @model_serializer(mode="wrap")
    def _as_ever(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        record: dict[str, Any] = dump(self)
        if (shape := record["architecture"]) is not None:
            plain = [name for name, value in _PLAIN.items() if shape[name] == value]
            record["architecture"] = {name: value for name, value in shape.items() if name not in plain}
        return {name: value for name, value in record.items() if name not in _LEFT_OUT or value}

    @property
    def tokens(self) -> Vocabulary:
        """The vocabulary that the module reads and writes."""
        if self.vocabulary is not None:
            return Vocabulary(self.vocabulary)
        whole = self.vocabulary_size == len(PUBLISHED)
        return PUBLISHED if whole else Vocabulary(PUBLISHED.tokens[: self.vocabulary_size])

    @model_validator(mode="after")
    def _says_how_to_build(self) -> Self:
        if self.architecture is None and self.build is None:
            raise ValueError("architecture and build are both null, so that nothing says how to build the module")
        if self.architecture is not None and self.build is not None:
            raise ValueError("architecture and build are both given; a reference model has no build")
        shape = self.architecture
        if shape is not None and (shape.main_tag is not None) != shape.needs_main_tag:
            raise ValueError("main_tag must be given where task_heads or task_units is disjoint, and only there")
        return self


def save_checkpoint(folder: Path, module: nn.Module, record: CheckpointRecord) -> None:
    """Write a checkpoint, each file whole or not at all, the record last.

    Raises:
        LgbenchError: The folder, or a file of a checkpoint in it, is a link.
        OSError: It could not be written.
    """
    refuse_links(folder, (WEIGHTS, RECORD))
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    _write(folder, module.state_dict(), record)


def _write(folder: Path, weights: Mapping[str, Tensor], record: CheckpointRecord) -> None:
    write_atomically(folder / WEIGHTS, packed(weights))
    write_record(folder / RECORD, record)


def round_checkpoint(source: Path, folder: Path) -> None:
    """Write a checkpoint anew with its weights rounded to bfloat16. It is still computed with in float32.

    Raises:
        LgbenchError: The source is damaged, or the folder is not empty or cannot be written.
    """
    record, weights = read_checkpoint_record(source), read_weights(source)
    rounded = {name: tensor.bfloat16() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    with atomic_folder(folder) as unfinished:
        _write(unfinished, rounded, record)


def pack_checkpoint(source: Path, folder: Path, packing: Packing) -> CheckpointRecord:
    """Write a checkpoint of a reference model with the matrices of its blocks as packed trits.

    Those of a model that was trained with ternary weights reply as it does. Those of any other model are rounded for
    the first time, which is known as post-training quantization.

    Raises:
        LgbenchError: The source is damaged or no reference model, or the folder is not empty or cannot be written.
    """
    record, module = load_module(source)
    if record.architecture is None:
        raise LgbenchError(f"{str(source)!r} is a module of a user's: only reference models have weights to pack.")
    if record.architecture.weights == "trits":
        raise LgbenchError(f"{str(source)!r} is packed already. Pack the checkpoint that it was made of.")
    assert isinstance(module, Transformer)
    shape = replace(record.architecture, weights="trits")
    with atomic_folder(folder) as unfinished:
        _write(unfinished, packed_weights(module, packing), record.model_copy(update={"architecture": shape}))
    return record


def load_module(folder: Path, *, build: Build | None = None) -> tuple[CheckpointRecord, nn.Module]:
    """What `checkpoint.json` says, and the module of a checkpoint, in float32.

    Args:
        folder: With `model.safetensors` and `checkpoint.json`.
        build: Builds the module of a checkpoint that is not a reference model.

    Raises:
        LgbenchError: It is not a checkpoint, is damaged, or belongs to another vocabulary; the sentence says which.
    """
    record = read_checkpoint_record(folder)
    if record.architecture is not None:
        _check_shapes(folder, record.architecture, record.vocabulary_size)
    module = _module(folder, record, build)
    weights = read_weights(folder)
    if record.architecture is not None and record.architecture.weights == "trits":
        weights = unpacked(weights, module)
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        raise _unfit(folder, str(error).splitlines()[-1].strip()) from None
    if (name := first_nonfinite(module.float())) is not None:
        raise LgbenchError(f"The weights in {folder} are damaged: {name} holds what is not a number. {_COPY_AGAIN}")
    return record, module


def _check_shapes(folder: Path, architecture: Architecture, vocabulary_size: int) -> None:
    """Compare a reference model with the header of its weights, before it takes memory that the file does not justify.

    Raises:
        LgbenchError: They do not fit together, or the file is damaged.
    """
    found = read_shapes(folder / WEIGHTS, advice=_COPY_AGAIN)
    if architecture.layers > len(found):  # even without its weights, a model of 100,000 layers takes a gigabyte
        raise _unfit(folder, f"it has {architecture.layers:,} layers, the file {len(found):,} tensors.")
    with torch.device("meta"):
        module = reference_model(architecture, vocabulary_size)
    described, blocks = module.state_dict(), packed_names(module)
    for name, tensor in described.items():
        if name not in found:
            raise _unfit(folder, f"{name} is missing.")
        if name in blocks:  # checked when it is unpacked: no larger than the matrix
            continue
        if found[name] != tuple(tensor.shape):
            raise _unfit(folder, f"{name} has shape {found[name]}, not {tuple(tensor.shape)}.")
    if unknown := sorted(found.keys() - described.keys()):
        raise _unfit(folder, f"the model has no {unknown[0][:60]!r}.")


def _unfit(folder: Path, detail: str) -> LgbenchError:
    return LgbenchError(f"The weights in {folder} do not fit the model that {RECORD} describes: {detail}")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint.

    Raises:
        LgbenchError: The file is missing, truncated or in another format.
    """
    return read_tensors(folder / WEIGHTS, advice=_COPY_AGAIN)


def _module(folder: Path, record: CheckpointRecord, build: Build | None) -> nn.Module:
    size = record.vocabulary_size
    if record.architecture is not None:
        return reference_model(record.architecture, size)
    if record.build is not None and record.build.startswith("hf:"):
        raise LgbenchError(
            f"The checkpoint {folder} holds weights that `lgbench finetune` trained of {record.build}. Its model for "
            f"evaluation lies beside it: hf:{folder.parent / MODEL}"
        )
    if build is None and record.build is not None and is_own(record.build):
        build = load_build(record.build, record.build_options)
    if build is None:
        raise LgbenchError(
            f"The checkpoint {folder} holds weights of a module that {record.build!r} builds. lgbench runs no code "
            f"that a checkpoint names. Name it yourself: --model-option build={record.build}"
        )
    return call_build(build, size)


def reference_model(architecture: Architecture, vocabulary_size: int, initial_std: float = 0.02) -> Transformer:
    """A reference model with fresh weights.

    Raises:
        LgbenchError: It does not fit into the memory.
    """
    try:
        return Transformer(architecture, vocabulary_size, initial_std)
    except (MemoryError, RuntimeError) as error:  # PyTorch raises the latter where it gets no memory
        reason = (str(error).splitlines() or ["no memory"])[0][:200]
        raise LgbenchError(f"A model of {architecture} cannot be built here: {reason}") from None


def call_build(build: Build, vocabulary_size: int) -> nn.Module:
    """The module that a user's function builds.

    Raises:
        LgbenchError: It returned something else.
        ModelError: It raised.
    """
    with user_code(f"The model's function, asked for a module of {vocabulary_size} tokens,"):
        module: object = build(vocabulary_size)
    if not isinstance(module, nn.Module):
        raise LgbenchError(f"The model's function returned {type(module).__name__}. It must return a torch.nn.Module.")
    return module


def read_checkpoint_record(folder: Path) -> CheckpointRecord:
    """What `checkpoint.json` says.

    Raises:
        LgbenchError: It is missing, damaged or of another vocabulary version.
    """
    if not (folder / RECORD).is_file():
        other = f" A Hugging Face model is named hf:{folder}." if (folder / "config.json").is_file() else ""
        raise LgbenchError(
            f"{str(folder)!r} holds no checkpoint: it has no {RECORD}. Give one that `lgbench train` wrote.{other}"
        )
    record = read_record(folder / RECORD, CheckpointRecord)
    if record.vocabulary_version != VOCABULARY_VERSION:
        raise LgbenchError(
            f"{str(folder)!r} has vocabulary version {record.vocabulary_version}; this lgbench has version "
            f"{VOCABULARY_VERSION}, whose tokens mean other text. Train it again, or use the lgbench that trained it."
        )
    if record.vocabulary is None and not 0 < record.vocabulary_size <= len(PUBLISHED):
        raise LgbenchError(
            f"{str(folder)!r} knows {record.vocabulary_size} tokens; this lgbench has {len(PUBLISHED)}. Use the "
            "lgbench that trained it, or a newer one."
        )
    return record
