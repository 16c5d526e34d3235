"""Layer 4: the training loop."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.errors import LgbenchError
from lgbench.files import owned_folder
from lgbench.models.checkpoint import Build, CheckpointRecord, save_checkpoint
from lgbench.models.tokenizer import VOCABULARY_VERSION
from lgbench.suites import ArmTask, Suite, load_suite
from lgbench.tasks import get_task
from lgbench.training.batches import IGNORED, Batch, batches
from lgbench.training.curve import DevSet
from lgbench.training.devices import fast_bfloat16
from lgbench.training.modules import build_module
from lgbench.training.record import CurvePoint, Machine, TrainedPart, TrainingPlan, TrainingRecord, read_training_record
from lgbench.training.settings import TrainingSettings, learning_rate
from lgbench.training.state import STATE, read_state, restore, save_state

CHECKPOINT = "checkpoint"
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


def plan_training(
    suite: Suite,
    group: str,
    arm: str,
    *,
    seed: int,
    preset: str,
    settings: TrainingSettings,
    model: str | None = None,
    device: str = "cpu",
) -> TrainingPlan:
    """The plan of a run.

    Args:
        suite: The suite.
        group: A group of it.
        arm: A trained arm.
        seed: Of the initial weights.
        preset: The preset that the settings started from.
        settings: Every hyperparameter.
        model: `file.py:function` or `package.module:function` of a user's module; the reference model if null.
        device: Decides what the precision `auto` is.

    Raises:
        UnknownNameError: No such group or arm.
    """
    if settings.precision == "auto":
        precision = "bfloat16" if fast_bfloat16(device) else "float32"
        settings = settings.model_copy(update={"precision": precision})
    return TrainingPlan(
        suite=suite.name,
        group=group,
        arm=arm,
        parts=tuple(_trained_part(part) for part in suite.group(group).arm(arm)),
        seed=seed,
        preset=preset,
        settings=settings,
        model=model or "reference",
        model_sha256=_file_sha256(model) if model else None,
    )


def _trained_part(part: ArmTask) -> TrainedPart:
    version = get_task(part.task).version
    return TrainedPart(task=part.task, task_version=version, max_length=part.max_length, share=str(part.share))


def _file_sha256(model: str) -> str | None:
    path = Path(model.partition(":")[0])
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.suffix == ".py" and path.is_file() else None


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
        build: Builds the user's module that the plan names; null for the reference model.
        device: As PyTorch names it.
        resume: Go on from the state in the folder, if there is one.
        report: Called every few steps.

    Raises:
        LgbenchError: The folder holds another run or is in use, the module is unfit, or the loss is not a number.
    """
    with owned_folder(folder):
        if (done := _finished(plan, folder, resume=resume)) is not None:
            return done
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
        self._module = build_module(settings, build, seed=plan.seed, device=device)
        self._optimizer = make_optimizer(self._module, settings)
        parameters = sum(each.numel() for each in self._module.parameters() if each.requires_grad)
        self.record = TrainingRecord(plan=plan, machine=Machine.current(device), parameters=parameters)
        if saved is not None:
            self.record = saved[0].model_copy(update={"machine": self.record.machine})
            restore(saved[1], self._module, self._optimizer)

    def train(self, report: Callable[[Progress], None]) -> None:
        """Take all steps that remain."""
        plan, settings = self._plan, self._plan.settings
        suite = load_suite(plan.suite)
        group = suite.group(plan.group)
        dev = DevSet(suite, group, plan.arm, device=self._device)
        forward = torch.compile(self._module) if settings.compile else self._module
        began, since, last = time.perf_counter(), self.record.seconds, self.record.steps_done
        total = torch.zeros((), device=self._device)
        interval_loss, tokens, target_tokens = 0.0, 0, 0
        clock = began
        for step, batch in enumerate(self._batches(suite), start=last):
            total += self._step(forward, batch, step)
            tokens, target_tokens = tokens + batch.tokens, target_tokens + batch.target_tokens
            done = step + 1
            due = done == settings.steps or done % settings.evaluate_every == 0
            if not due and done % _REPORT_STEPS:
                continue
            loss, total = float(total), torch.zeros_like(total)
            _check_finite(loss, done, self._folder)
            interval_loss += loss
            point = None
            if due:
                mean = interval_loss / (done - self.record.steps_done)
                point = CurvePoint(step=done, loss=mean, correct=dev.correct(self._module))
                self._save(point, tokens, target_tokens, since + time.perf_counter() - began)
                interval_loss, tokens, target_tokens = 0.0, 0, 0
            now = time.perf_counter()
            report(Progress(done, loss / (done - last), (done - last) * settings.batch / (now - clock), point))
            clock, last = now, done
            if done == settings.steps:
                return

    def _batches(self, suite: Suite) -> Iterator[Batch]:
        settings = self._plan.settings
        return batches(
            suite,
            self._plan.trained_arm(),
            size=settings.batch,
            chunks=settings.length_chunks,
            start=self.record.steps_done,
            workers=settings.workers,
            multiple=_COMPILED_MULTIPLE if settings.compile else 1,
        )

    def _step(self, forward: Callable[[Tensor], Tensor], batch: Batch, step: int) -> Tensor:
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._plan.settings, step)
        loss = backward(forward, batch, device=self._device, precision=self._plan.settings.precision)
        nn.utils.clip_grad_norm_(self._module.parameters(), self._plan.settings.gradient_clip)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return loss

    def _save(self, point: CurvePoint, tokens: int, target_tokens: int, seconds: float) -> None:
        record = self.record
        self.record = record.model_copy(
            update={
                "steps_done": point.step,
                "tokens": record.tokens + tokens,
                "target_tokens": record.target_tokens + target_tokens,
                "seconds": round(seconds, 1),
                "curve": (*record.curve, point),
            }
        )
        save_state(self._folder, self._module, self._optimizer, self.record)

    def finish(self) -> None:
        """Write the checkpoint and drop the state, which is no longer needed."""
        plan = self._plan
        record = CheckpointRecord(
            vocabulary_version=VOCABULARY_VERSION,
            architecture=plan.settings.architecture if plan.model == "reference" else None,
            build=None if plan.model == "reference" else plan.model,
            suite=plan.suite,
            group=plan.group,
            arm=plan.arm,
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
    """The record of this run if it is done: then nothing but its checkpoint and its record are left."""
    if (folder / STATE).exists() or not (folder / CHECKPOINT).exists():
        return None
    record = read_training_record(folder)
    _check_same(plan, record, folder, resume=resume)
    return record


def _check_same(plan: TrainingPlan, found: TrainingRecord, folder: Path, *, resume: bool) -> None:
    if found.plan != plan:
        raise LgbenchError(
            f"{str(folder)!r} holds another run ({difference(found.plan, plan)}). Choose another --output."
        )
    if not resume:
        raise LgbenchError(
            f"{str(folder)!r} holds this run after {found.steps_done} of {plan.settings.steps} steps. "
            "Go on with --resume, or choose another --output."
        )


def difference(old: TrainingPlan, new: TrainingPlan) -> str:
    """Where two plans differ first, for an error message."""
    before, after = ({**plan.model_dump(), **plan.settings.model_dump()} for plan in (old, new))
    name = next(name for name in before if name != "settings" and before[name] != after[name])
    return f"{name} is {before[name]!r} there and {after[name]!r} here"


def make_optimizer(module: nn.Module, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW that decays matrices but neither scales nor biases."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [each for each in trained if each.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [each for each in trained if each.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (settings.beta1, settings.beta2)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=betas, fused=True)


def backward(forward: Callable[[Tensor], Tensor], batch: Batch, *, device: str, precision: str) -> Tensor:
    """Add the gradient of a batch's mean loss over its target tokens and ends; that loss, shape ()."""
    total = torch.zeros((), device=device)
    for inputs, labels in batch.chunks:
        inputs, labels = inputs.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=precision == "bfloat16"):
            logits = forward(inputs)
        flat, wanted = logits.float().flatten(0, 1), labels.flatten()
        loss = F.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum") / batch.target_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
    return total


def _check_finite(loss: float, step: int, folder: Path) -> None:
    if not math.isfinite(loss):
        raise LgbenchError(
            f"The loss is no longer a number (within the 10 steps before {step}). The last good state is in {folder}. "
            "Train anew with a lower rate, as in --set learning_rate=3e-4, or a longer warm-up."
        )
