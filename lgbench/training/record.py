"""What `training.json` holds: everything that a run depends on, and its curve."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from lgbench.data.cells import DEV_EXAMPLES
from lgbench.evaluation.environment import processor
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.results.schema import Text
from lgbench.scoring.measures import wilson_interval
from lgbench.training.changes import DataChange, MixtureChange
from lgbench.training.settings import Natural, Positive
from lgbench.training.spec import Division, RunSpec
from lgbench.util.errors import LgbenchError
from lgbench.util.records import read_record
from lgbench.version import __version__

if TYPE_CHECKING:
    import pandas as pd

RECORD = "training.json"
_MAX_BYTES = 100_000_000
_LEFT_OUT = ("changes", "source", "extra_cost", "measures")


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CurvePoint(_Record):
    """The model after some steps.

    Attributes:
        step: Steps done.
        loss: Mean loss over the steps since the point before, in nats a target token.
        correct: Dev examples right, of 64, by task, then length.
    """

    step: Positive
    loss: Annotated[float, Field(allow_inf_nan=False)]
    correct: dict[str, dict[int, Annotated[int, Field(ge=0, le=DEV_EXAMPLES)]]]


class Machine(_Record):
    """Where a run took place.

    Attributes:
        lgbench: Version of this package.
        torch: Version of PyTorch.
        platform: Operating system, processor architecture and number of cores.
        device: What trained: `cpu`, or the name of the GPU.
        threads: Cores that PyTorch used for one operation.
        processor: What the system calls the processor; null where it does not say, and in records made before lgbench
            asked.
    """

    lgbench: str
    torch: str
    platform: str
    device: str
    threads: Positive
    processor: str | None = None

    @classmethod
    def current(cls, device: str) -> Self:
        """This process's."""
        import torch  # only here: whoever reads a record needs none

        name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
        system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
        return cls(
            lgbench=__version__,
            torch=torch.__version__,
            platform=system,
            device=name,
            threads=torch.get_num_threads(),
            processor=processor(),
        )


class ExtraCost(_Record):
    """What a method took beyond the steps of the plain run: pretraining, voters, answers to its own questions.

    Attributes:
        steps: Optimizer steps of any model.
        examples: Examples that they trained on, and prompts that were answered.
        tokens: Tokens read and written, without padding.
    """

    steps: Natural = 0
    examples: Natural = 0
    tokens: Natural = 0


class Measured(_Record):
    """Numbers that a method measured during training.

    Attributes:
        step: Steps done.
        values: Each by its name; a slash separates a family from its member, as in `zeros/blocks.0.attention.qkv`.
    """

    step: Natural
    values: dict[Text, Annotated[float, Field(allow_inf_nan=False)]]


class TrainingRecord(_Record):
    """The content of `training.json`.

    Attributes:
        plan: What the run depends on.
        machine: Where it took place, last.
        parameters: Trainable parameters of the model.
        steps_done: Steps whose state is saved.
        tokens: Tokens read in these steps, without padding.
        target_tokens: Those that the loss was taken on.
        seconds: Time spent on them, over all the run's pieces.
        peak_memory: The most bytes that the training process held in any piece, without the processes that draw ahead
            and a GPU's memory; null where that is not known.
        curve: Points at intervals.
        changes: What hooks changed of the data on the way; left out where they changed nothing.
        source: The class of a user's own source of examples; left out where they are the plan's.
        extra_cost: What the plan's method took beyond the plain run; left out where that is nothing.
        measures: What the method of the plan measured; left out if it measured nothing.
    """

    plan: RunSpec
    machine: Machine
    parameters: Positive
    steps_done: Natural = 0
    tokens: Natural = 0
    target_tokens: Natural = 0
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    peak_memory: Natural | None = None
    curve: tuple[CurvePoint, ...] = ()
    changes: tuple[DataChange, ...] = ()
    source: Text | None = None
    extra_cost: ExtraCost | None = None
    measures: tuple[Measured, ...] = ()
    _folder: Path | None = PrivateAttr(default=None)

    def in_folder(self, folder: Path) -> Self:
        """The same record, which knows the run's folder."""
        found = self.model_copy()
        found._folder = folder
        return found

    @property
    def folder(self) -> Path | None:
        """The run's folder; None if the record was not read from one."""
        return self._folder

    def __eq__(self, other: object) -> bool:
        """Whether both records have the same content; their folders may differ."""
        return isinstance(other, TrainingRecord) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # a record holds dictionaries

    @model_serializer(mode="wrap")
    def _as_ever(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What few runs have is left out of the others: their records stay as they always were."""
        record: dict[str, Any] = dump(self)
        return {name: value for name, value in record.items() if value or name not in _LEFT_OUT}

    @model_validator(mode="after")
    def _has_the_points_of_its_plan(self) -> Self:
        """A curve has every point up to the steps that are done: whoever resumes goes on from there."""
        every, steps = self.plan.settings.evaluate_every, self.plan.settings.steps
        if self.steps_done > steps:
            raise ValueError(f"{self.steps_done} of {steps} steps are done")
        before_the_last = range(every, min(self.steps_done, steps - 1) + 1, every)
        last = [steps] if self.steps_done == steps else []
        # Counted first: a stranger's record may plan millions of points.
        count = len(before_the_last) + len(last)
        if len(self.curve) != count or [point.step for point in self.curve] != [*before_the_last, *last]:
            raise ValueError(
                f"the curve is not that of its plan, which has a point every {every} of {steps} steps, the last at or "
                f"before the {self.steps_done} that are done"
            )
        return self

    @model_validator(mode="after")
    def _counts_the_dev_examples(self) -> Self:
        """Whoever draws the curve looks up each task at each length of the grid."""
        lengths = set(self.plan.suite_group.grid)
        expected = dict.fromkeys(self.plan.mixture.tasks, lengths)
        for point in self.curve:
            if {task: set(counts) for task, counts in point.correct.items()} != expected:
                raise ValueError(f"the point at step {point.step} is not of every task and length of the run")
        return self

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        """What it is of and how far it is, in a line."""
        plan = self.plan
        yield "suite", plan.suite
        yield from (("group", plan.group), ("arm", plan.arm), ("seed", plan.seed), ("model", plan.model))
        yield from (("steps_done", self.steps_done), ("steps", plan.settings.steps), ("points", len(self.curve)))

    def to_frame(self) -> pd.DataFrame:
        """The curve as a tidy pandas frame: a row for each point, task and length, with its Wilson interval.

        Raises:
            LgbenchError: The run has no point yet.
        """
        return curve_frame([self])

    @property
    def data_changed(self) -> bool:
        """Whether it trained on something else than its plan says; an open method's changes are its plan's."""
        is_open = self.plan.method is not None and self.plan.method.division == "open"
        changed = any(isinstance(each, MixtureChange) for each in self.changes)
        return self.source is not None or (changed and not is_open)

    @property
    def is_of_its_arm(self) -> bool:
        """Whether the run trained what the suite's arm does: with a sweep, an ablation or a hook it may not have."""
        return self.plan.is_of_its_arm and not self.data_changed

    @property
    def division(self) -> Division:
        """That of its plan, unless the run trained on something else."""
        return "open" if self.data_changed else self.plan.division

    @property
    def flops(self) -> int | None:
        """Operations that the steps took in the reference model's matrices: six for each of their weights and token.

        Two forward, four backward (Kaplan et al., arXiv 2001.08361). Attention's own products, a few per cent at these
        lengths, and padding are left out, and so is the embedding, which is a table. None for other models, of which
        only the number of trained parameters is known.
        """
        if self.plan.other_model is not None:
            return None
        table = len(suite_vocabulary(self.plan.loaded_suite)) * self.plan.settings.width
        return 6 * (self.parameters - table) * self.tokens

    @property
    def finished(self) -> bool:
        """Whether every step is done."""
        return self.steps_done == self.plan.settings.steps


def curve_frame(records: Iterable[TrainingRecord]) -> pd.DataFrame:
    """The curves of at least one record as a frame. Rows and errors as for `TrainingRecord.to_frame`."""
    from lgbench.scoring.frames import frame

    def rows() -> Iterator[dict[str, Any]]:
        for record in records:
            plan = record.plan
            if not record.curve:
                raise LgbenchError(
                    f"The run of {plan.group}, arm {plan.arm}, has no point of its curve yet: the first is at "
                    f"step {min(plan.settings.evaluate_every, plan.settings.steps)}."
                )
            for point in record.curve:
                yield from _rows(record, point)

    return frame(rows())


def _rows(record: TrainingRecord, point: CurvePoint) -> Iterator[dict[str, Any]]:
    """A point of a curve, task by task in the plan's order."""
    plan = record.plan
    for task in plan.mixture.tasks:
        for length, correct in sorted(point.correct[task].items()):
            low, high = wilson_interval(correct, DEV_EXAMPLES)
            yield {
                "suite": plan.suite,
                "model": plan.model,
                "method": None if plan.method is None else plan.method.name,
                "arm": plan.arm,
                "group": plan.group,
                "seed": plan.seed,
                "step": point.step,
                "loss": point.loss,
                "task": task,
                "length": length,
                "zone": plan.suite_group.zone(length),
                "correct": correct,
                "total": DEV_EXAMPLES,
                "accuracy": Fraction(correct, DEV_EXAMPLES),
                "low": low,
                "high": high,
                "run": None if record.folder is None else str(record.folder),
            }


def read_training_record(folder: Path) -> TrainingRecord:
    """The `training.json` of a run's folder.

    Raises:
        LgbenchError: It is missing or damaged.
    """
    if not (folder / RECORD).is_file():
        raise LgbenchError(f"{str(folder)!r} holds no training run: it has no {RECORD}. Make one with `lgbench train`.")
    # Our own, with as many points as were asked for: the usual cap is for strangers' files.
    return read_record(folder / RECORD, TrainingRecord, max_bytes=_MAX_BYTES).in_folder(folder)
