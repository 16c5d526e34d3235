"""Layer 4: the training loop."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from lgbench.environment import count_peak_anew, peak_memory, return_memory
from lgbench.errors import LgbenchError
from lgbench.files import owned_folder
from lgbench.groups import OPEN_ARM
from lgbench.models.calling import user_code
from lgbench.models.checkpoint import RECORD as CHECKPOINT_RECORD
from lgbench.models.checkpoint import WEIGHTS, Build, CheckpointRecord, save_checkpoint
from lgbench.models.folders import CHECKPOINT
from lgbench.models.tensors import spoiled
from lgbench.models.tokenizer import PUBLISHED, VOCABULARY_VERSION, suite_vocabulary
from lgbench.records import write_record
from lgbench.suites import Suite
from lgbench.training.batching import Batch, mixture_batches
from lgbench.training.curve import DevSet
from lgbench.training.meter import Meter
from lgbench.training.modules import build_module, check_length
from lgbench.training.plans import TrainingPlan, difference
from lgbench.training.record import RECORD, CurvePoint, Machine, TrainingRecord, read_training_record
from lgbench.training.state import STATE, read_state, restore, save_state
from lgbench.training.steps import make_optimizer, take_step

_REPORT_STEPS = 10
# Compiled, each new shape costs a compilation: chunks are padded to a multiple of this.
_COMPILED_MULTIPLE = 32


class Progress(NamedTuple):
    """What a run reports every few steps.

    Attributes:
        step: Steps done.
        loss: Mean over the steps since the last report, in nats a target token.
        examples_per_second: Over the same steps.
        point: The point of the training curve, where one was just taken.
    """

    step: int
    loss: float
    examples_per_second: float
    point: CurvePoint | None

    @property
    def pace(self) -> str:
        """Loss and speed, in words."""
        return f"loss {self.loss:.3f}, {self.examples_per_second:,.0f} examples/s"


def train(
    plan: TrainingPlan,
    folder: Path,
    *,
    build: Build | None = None,
    device: str = "cpu",
    resume: bool = False,
    report: Callable[[Progress], None] = lambda _: None,
) -> TrainingRecord:
    """Train one model and leave `training.json` and the folder `checkpoint` in `folder`.

    Args:
        plan: What to train.
        folder: The run's folder.
        build: Builds the user's module that the plan names; None for the reference model.
        device: As PyTorch names it.
        resume: Go on from the state in the folder, if there is one.
        report: Called every few steps.

    Raises:
        LgbenchError: The folder holds another run or is in use, the module is unfit, or the loss is not a number.
    """
    with owned_folder(folder):
        if (done := _finished(plan, folder, resume=resume)) is not None:
            return done
        return_memory()  # of the run before, if there was one in this process
        count_peak_anew()
        run = _Run(plan, folder, build=build, device=device, resume=resume)
        if run.record.steps_done < plan.settings.steps:
            run.train(report)
        run.finish()
        return run.record


class _Run:
    """A module in training, with all that its next step depends on."""

    def __init__(self, plan: TrainingPlan, folder: Path, *, build: Build | None, device: str, resume: bool) -> None:
        self._plan, self._folder, self._device = plan, folder, device
        saved = _saved(plan, folder, resume=resume)
        settings = plan.settings
        self._vocabulary = suite_vocabulary(plan.loaded_suite)
        size = len(self._vocabulary)
        self._module = build_module(settings, build, seed=plan.seed, device=device, vocabulary_size=size)
        self._optimizer = make_optimizer(self._module, settings)
        parameters = sum(each.numel() for each in self._module.parameters() if each.requires_grad)
        self.record = TrainingRecord(plan=plan, machine=Machine.current(device), parameters=parameters)
        if saved is not None:
            self.record = saved[0].model_copy(update={"machine": self.record.machine})
            restore(saved[1], self._module, self._optimizer)
            # A kill between the two files of a point leaves the record of the point before: after the last, for good.
            write_record(folder / RECORD, self.record)

    def train(self, report: Callable[[Progress], None]) -> None:
        """Take all steps that remain."""
        plan, settings = self._plan, self._plan.settings
        suite = plan.loaded_suite
        dev = DevSet(suite, plan.suite_group, plan.mixture.tasks, device=self._device)
        if plan.other_model is not None and not plan.is_pretrained:
            check_length(self._module, dev.longest, device=self._device)
        # With shapes that vary, PyTorch 2.13 compiles a backward pass of ours that fails at the second of them.
        forward = torch.compile(self._module, dynamic=False) if settings.compile else self._module
        meter = Meter(self._device)
        for step, batch in enumerate(self._batches(suite), start=self.record.steps_done):
            with self._told():
                loss = take_step(
                    self._module, self._optimizer, batch, settings, step=step, device=self._device, forward=forward
                )
            meter.add(loss, batch)
            done = step + 1
            due = done == settings.steps or done % settings.evaluate_every == 0
            if due or done % _REPORT_STEPS == 0:
                mean, rate = meter.read(examples=settings.batch)
                self._check_finite(mean, done, weights=due)
                point = self._take_point(done, dev, meter) if due else None
                meter.restart_clock()
                report(Progress(done, mean, rate, point))
            if done == settings.steps:
                return

    def _told(self) -> contextlib.AbstractContextManager[None]:
        """Around the module's work: what a user's module raises is told as such."""
        own = self._plan.other_model is not None
        return user_code("The module, in training,") if own else contextlib.nullcontext()

    def _batches(self, suite: Suite) -> Iterator[Batch]:
        settings = self._plan.settings
        return mixture_batches(
            suite,
            self._plan.mixture,
            steps=settings.steps,
            size=settings.batch,
            chunks=settings.length_chunks,
            start=self.record.steps_done,
            workers=settings.workers,
            multiple=_COMPILED_MULTIPLE if settings.compile else 1,
            pinned=self._device.startswith("cuda"),
        )

    def _check_finite(self, loss: float, step: int, *, weights: bool) -> None:
        """Stop before a state is saved that no run can go on from."""
        if not math.isfinite(loss):
            told = "The loss is no longer a number"
        elif weights and (name := spoiled(self._module)) is not None:
            told = f"The weights are no longer numbers ({name})"
        else:
            return
        saved = self.record.steps_done
        kept = f"The state after step {saved} is in {self._folder}. " if saved else ""
        raise LgbenchError(
            f"{told} by step {step}. {kept}Train anew with a lower rate, as in --set learning_rate=3e-4, or a longer "
            "warm-up."
        )

    def _take_point(self, step: int, dev: DevSet, meter: Meter) -> CurvePoint:
        """Evaluate on dev examples, and save the state with the new point."""
        record, since = self.record, meter.since_point()
        return_memory()  # steps and dev examples need blocks of other sizes: together they would hold more
        with self._told():
            correct = dev.correct(self._module, at_once=self._plan.settings.batch)
        return_memory()
        point = CurvePoint(step=step, loss=since.loss, correct=correct)
        self.record = record.model_copy(
            update={
                "steps_done": step,
                "tokens": record.tokens + since.tokens,
                "target_tokens": record.target_tokens + since.target_tokens,
                "seconds": round(record.seconds + since.seconds, 3),
                "peak_memory": max(filter(None, (record.peak_memory, peak_memory())), default=None),
                "curve": (*record.curve, point),
            }
        )
        save_state(self._folder, self._module, self._optimizer, self.record)
        return point

    def finish(self) -> None:
        """Write the checkpoint and drop the state, which is no longer needed."""
        plan = self._plan
        record = CheckpointRecord(
            vocabulary_version=VOCABULARY_VERSION,
            vocabulary_size=len(self._vocabulary),
            vocabulary=None if self._vocabulary is PUBLISHED else self._vocabulary.tokens,
            architecture=plan.settings.architecture if plan.other_model is None else None,
            build=plan.other_model,
            suite=plan.suite,
            group=plan.group,
            arm=plan.arm if plan.is_of_its_arm else OPEN_ARM,
            seed=plan.seed,
            steps=plan.settings.steps,
        )
        save_checkpoint(self._folder / CHECKPOINT, self._module, record)
        (self._folder / STATE).unlink(missing_ok=True)


def _saved(plan: TrainingPlan, folder: Path, *, resume: bool) -> tuple[TrainingRecord, dict[str, Tensor]] | None:
    """The state to go on from, after checking that it is this run's."""
    state = read_state(folder)
    if state is not None:
        _check_same(plan, state[0], folder, resume=resume)
    return state


def _finished(plan: TrainingPlan, folder: Path, *, resume: bool) -> TrainingRecord | None:
    """The record of this run if it is done: then nothing but its checkpoint and its record are left.

    Raises:
        LgbenchError: It is another run, or what it would go on from, or its checkpoint, is no longer whole.
    """
    checkpoint = folder / CHECKPOINT
    if (folder / STATE).exists() or not (checkpoint.exists() or (folder / RECORD).exists()):
        return None
    if not (folder / RECORD).exists():
        raise LgbenchError(
            f"{str(folder)!r} holds a checkpoint, but no {RECORD} that says of which run. Choose another --output."
        )
    record = read_training_record(folder)
    _check_same(plan, record, folder, resume=resume)
    if not record.finished:
        raise LgbenchError(
            f"{str(folder)!r} holds this run after {record.steps_done} of {plan.settings.steps} steps, but not the "
            f"{STATE} to go on from. Put the file back, or choose another --output."
        )
    if missing := [name for name in (WEIGHTS, CHECKPOINT_RECORD) if not (checkpoint / name).is_file()]:
        raise LgbenchError(
            f"{str(folder)!r} holds this run, trained, but its checkpoint lacks {' and '.join(missing)}. Put the file "
            "back, or choose another --output to train again."
        )
    return record


def _check_same(plan: TrainingPlan, found: TrainingRecord, folder: Path, *, resume: bool) -> None:
    if (differs := difference(found.plan, plan)) is not None:
        raise LgbenchError(f"{str(folder)!r} holds another run ({differs}). Choose another --output.")
    if not resume and found.finished and not (folder / STATE).exists():
        raise LgbenchError(
            f"{str(folder)!r} holds this run, trained. Evaluate it, complete with --resume what was interrupted after "
            "that, or choose another --output."
        )
    if not resume:
        raise LgbenchError(
            f"{str(folder)!r} holds this run after {found.steps_done} of {plan.settings.steps} steps. "
            "Go on with --resume, or choose another --output."
        )
