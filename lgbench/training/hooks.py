"""Code that is called while a run trains: it may watch, keep weights, change the mixture, or stop the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lgbench.data.groups import Zone
from lgbench.models.construction import arguments_for
from lgbench.models.loading import check_texts
from lgbench.training.planned import PlannedHook
from lgbench.training.points import zone_accuracies
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra
from lgbench.util.links import refuse_links
from lgbench.util.overriding import check_overrides, overrides
from lgbench.util.users_code import file_sha256, load_callable

if TYPE_CHECKING:
    from lgbench.training.batching import Batch
    from lgbench.training.record import CurvePoint
    from lgbench.training.rows import Row
    from lgbench.training.spec import RunSpec
    from lgbench.training.trainer import Training


class Hook:
    """Subclass it and override what you need; every method here does nothing.

    A run that is interrupted is resumed in a new process: what a hook remembers between calls belongs into `state`,
    which is saved with the run and given back to `load_state` before `start`. What a hook changed of the data is saved
    by the run itself.
    """

    def start(self, training: Training) -> None:
        """Called once in each process, before the first step that it takes: `training.step` is 0 in the first one."""

    def before_step(self, training: Training, batch: Batch) -> None:
        """Called before every step, with the examples that it takes."""

    def step(self, training: Training, loss: Tensor) -> None:
        """Called after every step.

        Args:
            training: The run; `training.step` steps are done.
            loss: The batch's mean loss before the step, shape (), on the device: reading it waits for the step.
        """

    def point(self, training: Training, point: CurvePoint) -> None:
        """Called when a point of the curve was taken, before the state is saved."""

    def end(self, training: Training) -> None:
        """Called when the run has ended or was stopped, but not when it was interrupted."""

    def state(self) -> dict[str, Any]:
        """What must outlive an interruption: numbers, strings, lists and dictionaries of these."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def tensors(self) -> dict[str, Tensor]:
        """Likewise, what must outlive an interruption as tensors, by name."""
        return {}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave: memory-mapped, so copy what is kept."""


class RowSource(Hook):
    """A hook of a method that gives the examples of each step instead of the plan's mixture."""

    def rows(self, step: int) -> list[Row]:
        """The examples of a step, as many as the setting `batch` says, from its number and the hook's own state.

        Args:
            step: The step's number, from 0; each call is for the step after that of the call before.
        """
        raise NotImplementedError


_CALLED = ("start", "before_step", "step", "point", "end")
_SAVED = ("state", "load_state", "tensors", "load_tensors")


def check_callbacks(hook: Hook) -> None:
    """Refuse a hook that overrides nothing that is called while a run trains, or nearly does: a name is mistyped.

    Raises:
        LgbenchError: It does.
    """
    kind, own = type(hook), vars(hook)
    base, called = (RowSource, ("rows", *_CALLED)) if isinstance(hook, RowSource) else (Hook, _CALLED)
    check_overrides(
        kind, base, [name for name in (*called, *_SAVED) if name not in own], what=f"The hook {kind.__name__}"
    )
    needed = called[:1] if base is RowSource else called
    if not overrides(kind, base, needed) and not any(name in own for name in needed):
        raise LgbenchError(
            f"The hook {kind.__name__} does nothing: it overrides none of {', '.join(needed)}. Check the names of its "
            "methods."
        )


class KeepPoints(Hook):
    """Keep the weights at every point of the curve, each as a checkpoint in `points/stepN` of the run's folder."""

    def point(self, training: Training, point: CurvePoint) -> None:
        """Write the checkpoint."""
        training.keep_weights(f"step{point.step}")


class StopWhen(Hook):
    """Stop the run at the first point that meets a condition.

    Args:
        accuracy: Of the main task on dev examples, from 0 to 1, to be reached.
        zone: In which zone.
        step: Stop at the first point at or after this step, whatever the accuracy.
    """

    def __init__(self, accuracy: float | None = None, zone: Zone = "in_distribution", step: int | None = None) -> None:
        if accuracy is None and step is None:
            raise LgbenchError("stop-when needs an accuracy or a step, as in --hook-option stop-when.accuracy=0.99.")
        self._accuracy, self._zone, self._step = accuracy, zone, step

    def point(self, training: Training, point: CurvePoint) -> None:
        """Stop, if it is time."""
        if self._step is not None and point.step >= self._step:
            training.stop(f"step {self._step} was reached")
        share = zone_accuracies(training.plan, point)[self._zone]
        if self._accuracy is not None and share is not None and share >= self._accuracy:
            training.stop(f"{float(share):.1%} right in zone {self._zone}")


class TensorBoard(Hook):
    """Log the loss, the learning rate, and the main task's accuracy by zone for TensorBoard.

    Args:
        folder: Where to, in the run's folder.
        every: Steps between values of the loss.
    """

    def __init__(self, folder: str = "tensorboard", every: int = 10) -> None:
        require_extra("tensorboard", purpose="The hook tensorboard")
        if Path(folder).is_absolute() or ".." in Path(folder).parts:  # a record of others may name it
            raise LgbenchError(
                f"The hook tensorboard writes into the run's folder only: folder={folder!r} is not in it."
            )
        if every < 1:
            raise LgbenchError(f"The hook tensorboard logs a value every 1 or more steps, not every {every}.")
        self._folder, self._every = folder, every
        self._writer: Any = None

    def start(self, training: Training) -> None:
        """Open the log. What an interrupted process logged beyond the saved step is hidden."""
        from torch.utils.tensorboard import SummaryWriter

        refuse_links(training.folder / self._folder)
        self._writer = SummaryWriter(str(training.folder / self._folder), purge_step=training.step + 1)

    def step(self, training: Training, loss: Tensor) -> None:
        """Log the loss and the rate."""
        if training.step % self._every == 0:
            self._writer.add_scalar("loss", float(loss), training.step)
            self._writer.add_scalar("learning_rate", training.learning_rate, training.step)

    def point(self, training: Training, point: CurvePoint) -> None:
        """Log the accuracies."""
        for zone, share in zone_accuracies(training.plan, point).items():
            if share is not None:
                self._writer.add_scalar(f"accuracy/{zone}", float(share), point.step)
        self._writer.flush()

    def end(self, training: Training) -> None:
        """Close the log."""
        self._writer.close()


HOOKS: Mapping[str, Callable[..., Hook]] = {
    "keep-points": KeepPoints,
    "stop-when": StopWhen,
    "tensorboard": TensorBoard,
}
"""The hooks that can be named on the command line without a file."""


def make_hooks(plan: RunSpec) -> list[Hook]:
    """The hooks of a plan. The plan must be one that the user asked for: the code that it names is run.

    Raises:
        LgbenchError: There is none of a name, or an option does not fit.
        ModelError: The user's file or class raised.
    """
    return [make_hook(hook.name, hook.options) for hook in plan.hooks]


def check_hook(name: str, options: Mapping[str, str]) -> None:
    """Make sure that there is such a hook and that it takes these options, without making it. Errors as `make_hook`."""
    _found(name, options)


def _found(name: str, options: Mapping[str, str]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """What makes a hook, and its arguments."""
    valid = f"{', '.join(HOOKS)}, or file.py:attribute"
    make: Callable[..., Any] = HOOKS[name] if name in HOOKS else load_callable(name, what="hook", valid=valid)
    return make, arguments_for(make, options, name, kind="hook option", prefix=f"{name}.")


def make_hook(name: str, options: Mapping[str, str]) -> Hook:
    """A hook by name: one of `HOOKS`, or a class or function of the user's, as in `file.py:attribute`.

    Raises:
        LgbenchError: There is none, or an option does not fit.
        ModelError: The user's file or class raised.
    """
    from lgbench.util.users_code import user_code

    make, arguments = _found(name, options)
    with user_code(f"Making the hook {name!r}"):
        hook = make(**arguments)
    if not isinstance(hook, Hook):
        raise LgbenchError(
            f"{name!r} made a {type(hook).__name__}, which is not a subclass of lgbench.training.hooks.Hook."
        )
    return hook


def planned_hooks(names: Sequence[str], options: Sequence[str] = ()) -> tuple[PlannedHook, ...]:
    """The hooks that a user names, after making sure that they exist and take their options.

    Args:
        names: As given to `--hook`.
        options: As given to `--hook-option`, each `NAME.key=value`.

    Raises:
        LgbenchError: There is no such hook, one is named twice, or an option does not fit.
        ModelError: The user's file raised when imported.
    """
    given: dict[str, dict[str, str]] = {}
    for name in names:
        if name in given:
            raise LgbenchError(f"--hook {name} is given twice. Name each hook once.")
        given[name] = {}
    for text in options:
        name, key, value = _hook_option(text)
        if name not in given:
            known = ", ".join(given) or "none"
            raise LgbenchError(f"--hook-option {text!r} is for the hook {name!r}, which is not given. Given: {known}.")
        if key in given[name]:
            raise LgbenchError(f"--hook-option {name}.{key} is given twice.")
        given[name][key] = value
    for name, own in given.items():
        check_texts({"--hook": name} | {f"--hook-option {name}.{key}": value for key, value in own.items()})
        check_hook(name, own)
    return tuple(PlannedHook(name=name, options=own, sha256=file_sha256(name)) for name, own in given.items())


def _hook_option(text: str) -> tuple[str, str, str]:
    place, equals, value = text.partition("=")
    name, dot, key = place.rpartition(".")
    if not (name and dot and key and equals):
        raise LgbenchError(
            f"--hook-option {text!r} does not read as NAME.key=value. Write it as in --hook-option stop-when.step=600."
        )
    return name, key, value
