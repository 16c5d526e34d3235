"""The training loop."""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from lgbench.data.groups import OPEN_ARM
from lgbench.data.mixtures import Part, PoolPart
from lgbench.evaluation.environment import peak_memory, reset_peak_memory
from lgbench.models.checkpoint import RECORD as CHECKPOINT_RECORD
from lgbench.models.checkpoint import WEIGHTS, Build, CheckpointRecord, save_checkpoint
from lgbench.models.folders import CHECKPOINT, MODEL
from lgbench.models.tensors import first_nonfinite
from lgbench.models.tokenizer import PUBLISHED, VOCABULARY_VERSION, suite_vocabulary
from lgbench.training.batching import Passing
from lgbench.training.curve import DevSet
from lgbench.training.examples import RunData, Source, source_name
from lgbench.training.hook_calls import HookCalls
from lgbench.training.hooks import Hook, RowSource
from lgbench.training.method import Method
from lgbench.training.modules import build_module, check_length
from lgbench.training.pools import GivenExample
from lgbench.training.record import RECORD, CurvePoint, ExtraCost, Machine, Measured, TrainingRecord
from lgbench.training.resuming import finished_before, saved_state
from lgbench.training.settings import learning_rate
from lgbench.training.spec import RunSpec
from lgbench.training.start import start_from
from lgbench.training.state import POOLS, STATE, SavedState, restore, save_state
from lgbench.training.steps import make_optimizer, take_step
from lgbench.training.throughput import Throughput
from lgbench.util.errors import DivergedError, LgbenchError
from lgbench.util.files import owned_folder
from lgbench.util.private_api import trim_heap
from lgbench.util.records import write_record
from lgbench.util.stopping import Noted, interruptible
from lgbench.util.users_code import user_code

POINTS = "points"
"""The folder of the checkpoints that a hook kept, in a run's folder."""
_FILES = (RECORD, STATE, f"{CHECKPOINT}/{WEIGHTS}", f"{CHECKPOINT}/{CHECKPOINT_RECORD}", MODEL, POINTS)
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
        news: What happened between two reports, in words: the state was saved, or a hook did something.
    """

    step: int
    loss: float
    examples_per_second: float
    point: CurvePoint | None
    news: str = ""

    @property
    def pace(self) -> str:
        """Loss and speed, in words."""
        return f"loss {self.loss:.3f}, {self.examples_per_second:,.0f} examples/s"


def train(
    plan: RunSpec,
    folder: Path,
    *,
    build: Build | None = None,
    device: str = "cpu",
    resume: bool = False,
    report: Callable[[Progress], None] = lambda _: None,
    hooks: Sequence[Hook] = (),
    source: Source | None = None,
    method: Method | None = None,
) -> TrainingRecord:
    """Train one model and leave `training.json` and the folder `checkpoint` in `folder`.

    The first Ctrl-C, or SIGTERM, saves the state after the step at work and then raises `KeyboardInterrupt`; a second
    Ctrl-C does not wait.

    Args:
        plan: What to train.
        folder: The run's folder.
        build: Builds the user's module that the plan names; None for the reference model.
        device: As PyTorch names it.
        resume: Go on from the state in the folder, if there is one.
        report: Called every few steps.
        hooks: Called while it trains. A resumed run needs the same. Those that the plan names are made by `make_hooks`.
        source: Gives the examples of each step instead of the plan. The run is then of no arm.
        method: The method that the plan names, as `lgbench.methods.registry.method_of` gives it.

    Returns:
        The run's record. It is not finished if a hook stopped the run; then the state is kept, but no checkpoint is
        written.

    Raises:
        LgbenchError: The folder holds another run or is in use, it or a file of the run is a link, the module is unfit,
            or the loss is not a number.
        ModelError: The user's module or a hook raised. The last state that was saved is kept.
    """
    _check_method(plan, method, source)
    _check_build(plan, build)
    with owned_folder(folder, _FILES):
        if (done := finished_before(plan, folder, resume=resume, source=source_name(source))) is not None:
            return done
        trim_heap()  # of the run before, if there was one in this process
        reset_peak_memory()
        with interruptible() as interrupted:
            training = Training(
                plan,
                folder,
                build=build,
                device=device,
                resume=resume,
                hooks=hooks,
                source=source,
                method=method,
                report=report,
                interrupted=interrupted,
            )
            training.run()
        return training.record


def _hooks_of(method: Method, plan: RunSpec) -> Sequence[Hook]:
    """The hooks of a method, which may be a user's."""
    hooks: object = method.hooks(plan)
    if not isinstance(hooks, Sequence) or not all(isinstance(each, Hook) for each in hooks):
        raise LgbenchError(
            f"`hooks` of the method {type(method).__name__} must return a list of instances of "
            "lgbench.training.hooks.Hook."
        )
    sources = sum(isinstance(each, RowSource) for each in hooks)
    if sources and method.division != "open":
        raise LgbenchError(
            f"The method {type(method).__name__} provides the examples itself (a RowSource), so its division must be "
            "'open', not 'closed'."
        )
    if sources > 1:
        raise LgbenchError(f"The method {type(method).__name__} has {sources} sources of examples: it may have one.")
    return hooks


def _check_method(plan: RunSpec, method: Method | None, source: Source | None) -> None:
    """Refuse to train a plan without its method, which would be another run by the same name."""
    if plan.method is None:
        if method is not None:
            raise LgbenchError(f"The method {method!r:.100} is given, but the plan names none: give it to Recipe.")
        return
    if method is None:
        raise LgbenchError(f"The plan names the method {plan.method}. Give it to train, as method_of(plan) makes it.")
    if (own := method.texts()) != plan.method.options:
        raise LgbenchError(f"The plan names the method {plan.method}, but one with other options is given: {own}.")
    if source is not None:
        raise LgbenchError(f"The run has the method {plan.method}: a source of other examples does not go with it.")


def _check_build(plan: RunSpec, build: Build | None) -> None:
    """Refuse to train the reference model for a plan that names another: its checkpoint could not be opened."""
    if build is None and plan.other_model is not None:
        raise LgbenchError(f"The plan names the model {plan.model}. Give what builds it, as planned_build(plan) does.")


class Training:
    """A run at work: the module and all that its next step depends on. Hooks are given it.

    Attributes:
        plan: What is trained.
        folder: The run's folder.
        device: As PyTorch names it.
        module: The module, in training mode.
        optimizer: What takes its steps.
        record: The run's record, up to the last point or the last save.
        step: How many steps are done.
    """

    def __init__(
        self,
        plan: RunSpec,
        folder: Path,
        *,
        build: Build | None,
        device: str,
        resume: bool,
        hooks: Sequence[Hook],
        source: Source | None,
        method: Method | None,
        report: Callable[[Progress], None],
        interrupted: Noted,
    ) -> None:
        self.plan, self.folder, self.device = plan, folder, device
        saved = saved_state(plan, folder, resume=resume, source=source_name(source))
        vocabulary = suite_vocabulary(plan.loaded_suite)
        self.module = build_module(
            plan.settings,
            build,
            seed=plan.seed,
            device=device,
            vocabulary_size=len(vocabulary),
            main_tag=plan.architecture.main_tag,
        )
        if saved is None and plan.start is not None:
            start_from(plan.start, self.module, vocabulary)
        self.optimizer = make_optimizer(self.module, plan.settings)
        parameters = sum(each.numel() for each in self.module.parameters() if each.requires_grad)
        self.record = TrainingRecord(
            plan=plan, machine=Machine.current(device), parameters=parameters, source=source_name(source)
        )
        self._of_method = () if method is None else tuple(_hooks_of(method, plan))
        self._hooks = HookCalls([*self._of_method, *hooks], lambda: self.step)
        self._interrupted = interrupted
        self._extra_cost = ExtraCost()
        self._measures: tuple[Measured, ...] = ()
        self._report, self._last_read = report, (math.nan, math.nan)
        self._meter = Throughput(device)
        self._stopped: str | None = None
        self.step = 0
        if saved is not None:
            self._restore(saved)
        pools = None if saved is None else saved.tensors.get(POOLS)
        own = next((hook for hook in self._of_method if isinstance(hook, RowSource)), source)
        self._data = RunData(plan, self._passing(), source=own, changes=self.record.changes, pools=pools)
        if saved is not None:
            self._hooks.load_tensors(saved.of_hooks, of=str(folder))
            self._hooks.load_states(saved.progress.get("hooks", {}), of=str(folder))

    def _restore(self, saved: SavedState) -> None:
        """Go back to a saved state in all but the data and the hooks."""
        self.record = saved.record.model_copy(update={"machine": self.record.machine})
        self.step = self.record.steps_done
        restore(saved.tensors, self.module, self.optimizer)
        self._extra_cost, self._measures = self.record.extra_cost or ExtraCost(), self.record.measures
        self._meter.load_state(saved.progress.get("meter", {}))
        # A kill between the two files of a point leaves the record of the point before: after the last, for good.
        write_record(self.folder / RECORD, self.record)

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        return learning_rate(self.plan.settings, self.step)

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C was pressed. A hook at long work saves what it has in the folder of the run, and returns."""
        return self._interrupted.is_set()

    def stop(self, reason: str) -> None:
        """End the run after the step or point at work. Its state is saved, so that it can be resumed."""
        self._stopped = reason

    def set_mixture(self, parts: Iterable[Part | PoolPart]) -> None:
        """Train on another mixture from the next step on, also where the plan has stages. The run is then of no arm.

        The stream of a list of tasks goes on behind the examples that the run took from it before.

        Args:
            parts: Tasks of the group with their greatest lengths, and pools, whose shares of the examples add up to 1.

        Raises:
            LgbenchError: A task is not of the group, a pool has no examples, or the shares do not add up.
        """
        self._check_division()
        wanted = tuple(parts)
        if (first := self._data.set_parts(wanted, self.step)) is not None:
            self.tell(f"from step {first} on it trains {', '.join(map(str, wanted))}")

    def add_examples(self, pool: str, examples: Iterable[GivenExample]) -> None:
        """Add examples to a pool, from which a part of the mixture may draw: see `set_mixture`.

        Args:
            pool: The pool's name.
            examples: Each an `Example`, or a task of the group, a prompt and a target.

        Raises:
            LgbenchError: One is not of a task of the group, cannot be written in the vocabulary, or has a prompt of the
                test or dev cells.
        """
        self._check_division()
        if count := self._data.add(pool, examples, self.step):
            self.tell(f"{count:,} examples were added to the pool {pool} after step {self.step}")

    def _check_division(self) -> None:
        """Refuse what a method at work may not do, before hours of training lead to no result."""
        if self._hooks.at_work in self._of_method and not self._is_open:
            raise LgbenchError(
                f"The method {self.plan.method} changes what the run trains on, so its class needs "
                '`division: ClassVar = "open"`.'
            )

    def held_out(self, task: str) -> frozenset[str]:
        """The prompts of a task that no example may have: those of its test and dev cells."""
        return self._data.pools.held_out(task)

    def count_extra(self, *, steps: int = 0, examples: int = 0, tokens: int = 0) -> None:
        """Add to what the method took beyond the plain run. Arguments as the attributes of `ExtraCost`."""
        before = self._extra_cost
        self._extra_cost = ExtraCost(
            steps=before.steps + steps, examples=before.examples + examples, tokens=before.tokens + tokens
        )

    def measure(self, values: Mapping[str, float]) -> None:
        """Take numbers down in the record, each with a name, as of the steps that are done.

        Infinities and what is not a number, as of a run that diverges, are left out.

        Raises:
            LgbenchError: A value has another type.
        """
        given: Mapping[str, object] = values  # a user's hook may measure anything
        for name, value in given.items():
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise LgbenchError(f"measure takes numbers by name; {name!r:.60} is {value!r:.60}.")
        finite = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        if finite:
            self._measures = (*self._measures, Measured(step=self.step, values=finite))

    def tell(self, news: str) -> None:
        """Report something in words."""
        self._report(Progress(self.step, *self._last_read, None, news))

    def keep_weights(self, name: str) -> Path:
        """Write the weights as they are now as a checkpoint. Returns its folder, `points/NAME` in the run's.

        Raises:
            LgbenchError: The name is not a plain name of a folder, or no step is done.
        """
        if not name or Path(name).name != name or name == "..":
            raise LgbenchError(f"{name!r:.100} cannot name kept weights: give a plain name, as in 'step600'.")
        if self.step == 0:
            raise LgbenchError("No step is done: there are no trained weights to keep yet.")
        return self._save_weights(self.folder / POINTS / name)

    def _save_weights(self, place: Path) -> Path:
        changed = self._data.is_changed and not self._is_open
        record = checkpoint_record(self.plan, steps=self.step, data_changed=changed)
        save_checkpoint(place, self.module, record)
        return place

    @property
    def _is_open(self) -> bool:
        """Whether its method may change the data: then the plan says that it does."""
        return self.plan.method is not None and self.plan.method.division == "open"

    def run(self) -> None:
        """Take all steps that remain, and write the checkpoint.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed, and the state is saved.
        """
        if self.step < self.plan.settings.steps:
            self._take_steps()
        else:  # it was ended between its last state and its checkpoint: what ends must have started
            self._hooks.call("start", self)
        self._hooks.call("end", self)
        if self.record.finished:
            self._save_weights(self.folder / CHECKPOINT)
            (self.folder / STATE).unlink(missing_ok=True)

    def _take_steps(self) -> None:
        plan, settings, meter = self.plan, self.plan.settings, self._meter
        dev = DevSet(plan.loaded_suite, plan.suite_group, plan.mixture.tasks, device=self.device)
        if plan.is_pretrained:  # what evaluation asks beyond its positions counts as capped
            check_length(self.module, dev.longest_row, "the longest prompt and its target", device=self.device)
        elif plan.other_model is not None:
            check_length(self.module, dev.longest, "the longest prompt and a reply up to its cap", device=self.device)
        # With shapes that vary, PyTorch 2.13 compiles a backward pass of ours that fails at the second of them.
        forward = torch.compile(self.module, dynamic=False) if settings.compile else self.module
        self._hooks.call("start", self)
        if self.is_interrupted:
            raise KeyboardInterrupt
        self._hooks.check_saved()
        meter.restart_clock()
        while True:
            batch = self._data.batch(self.step)
            self._hooks.call("before_step", self, batch)
            with self._module_code():
                loss = take_step(
                    self.module, self.optimizer, batch, settings, step=self.step, device=self.device, forward=forward
                )
            meter.add(loss, batch)
            self.step += 1
            self._hooks.call("step", self, loss)
            due = self.step == settings.steps or self.step % settings.evaluate_every == 0
            if due or self.step % _REPORT_STEPS == 0:
                self._last_read = mean, rate = meter.read(examples=settings.batch)
                self._check_finite(mean, weights=due)
                point = self._take_point(dev) if due else None
                meter.restart_clock()
                self._report(Progress(self.step, mean, rate, point))
            if self.step == settings.steps:
                return
            if self._stopped is not None or self.is_interrupted:
                if self._stopped is not None:
                    self.tell(f"a hook stopped it: {self._stopped}")
                if self.record.steps_done < self.step:
                    self._check_finite(float(loss), weights=True)
                    self._save()
                    self.tell(f"the state after step {self.step} was saved")
                if self.is_interrupted:
                    raise KeyboardInterrupt
                return

    def _module_code(self) -> contextlib.AbstractContextManager[None]:
        """Around the module's work: what a user's module raises is reported as such."""
        own = self.plan.other_model is not None
        return user_code("The module, in training,") if own else contextlib.nullcontext()

    def _passing(self) -> Passing:
        settings = self.plan.settings
        return Passing(
            size=settings.batch,
            chunks=settings.length_chunks,
            workers=settings.workers,
            multiple=_COMPILED_MULTIPLE if settings.compile else 1,
            pinned=is_pinned(self.device),
        )

    def _check_finite(self, loss: float, *, weights: bool) -> None:
        """Stop before a state is saved that no run can go on from."""
        if not math.isfinite(loss):
            problem = "The loss is no longer a number"
        elif weights and (name := first_nonfinite(self.module)) is not None:
            problem = f"The weights are no longer numbers ({name})"
        else:
            return
        saved = self.record.steps_done
        kept = f"The state after step {saved} is in {self.folder}. " if saved else ""
        raise DivergedError(
            f"{problem} by step {self.step}. {kept}Train anew with a lower rate, as in --set learning_rate=3e-4, or a "
            "longer warm-up."
        )

    def _take_point(self, dev: DevSet) -> CurvePoint:
        """Evaluate on dev examples, and save the state with the new point."""
        loss = self._meter.point_loss()
        trim_heap()  # steps and dev examples need blocks of other sizes: together they would hold more
        with self._module_code():
            correct = dev.correct(self.module, at_once=self.plan.settings.batch)
        trim_heap()
        point = CurvePoint(step=self.step, loss=loss, correct=correct)
        self._hooks.call("point", self, point)
        self._save(point)
        return point

    def _save(self, *new: CurvePoint) -> None:
        """Save the state after the steps that are done."""
        record, since = self.record, self._meter.since_save()
        self.record = record.model_copy(
            update={
                "steps_done": self.step,
                "tokens": record.tokens + since.tokens,
                "target_tokens": record.target_tokens + since.target_tokens,
                "seconds": round(record.seconds + since.seconds, 3),
                "peak_memory": max(filter(None, (record.peak_memory, peak_memory())), default=None),
                "curve": (*record.curve, *new),
                "changes": self._data.changes,
                "extra_cost": None if self._extra_cost == ExtraCost() else self._extra_cost,
                "measures": self._measures,
            }
        )
        progress = {"meter": self._meter.state(), "hooks": self._hooks.states()}
        pools, of_hooks = self._data.pools.state(), self._hooks.tensors()
        save_state(self.folder, self.module, self.optimizer, self.record, progress, pools, of_hooks)


def is_pinned(device: str) -> bool:
    """Whether batches for a device are laid in page-locked memory."""
    return device.startswith("cuda")


def checkpoint_record(plan: RunSpec, *, steps: int, data_changed: bool) -> CheckpointRecord:
    """What `checkpoint.json` says of a run's weights after some steps, on the plan's data or on other data."""
    vocabulary = suite_vocabulary(plan.loaded_suite)
    return CheckpointRecord(
        vocabulary_version=VOCABULARY_VERSION,
        vocabulary_size=len(vocabulary),
        vocabulary=None if vocabulary is PUBLISHED else vocabulary.tokens,
        architecture=plan.architecture if plan.other_model is None else None,
        build=plan.other_model,
        build_options=plan.model_options,
        suite=plan.suite,
        group=plan.group,
        arm=plan.arm if plan.is_of_its_arm and not data_changed else OPEN_ARM,
        seed=plan.seed,
        steps=steps,
    )
