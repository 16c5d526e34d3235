"""A recorded run trained again, from nothing but its record."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch

from lgbench.models.construction import is_own
from lgbench.models.devices import fast_bfloat16
from lgbench.models.loading import check_texts
from lgbench.models.parallel import limited_threads
from lgbench.training.hooks import HOOKS
from lgbench.training.planned import start_folder
from lgbench.training.record import RECORD, Machine, TrainingRecord, read_training_record
from lgbench.training.spec import RunSpec, difference
from lgbench.training.state import read_state
from lgbench.util.errors import LgbenchError
from lgbench.util.processes import cores
from lgbench.util.users_code import check_file, file_sha256, split_place


def recorded_folder(place: Path) -> Path:
    """The folder of a recorded run, which a user names by the folder or by its `training.json`.

    Raises:
        LgbenchError: There is neither.
    """
    if place.name == RECORD and place.is_file():
        return place.parent
    if place.exists() and not place.is_dir():
        raise LgbenchError(f"{str(place)!r} is a file, but no {RECORD}. Name that, or the folder that holds it.")
    if not place.exists():
        raise LgbenchError(f"There is no folder {str(place)!r}.")
    return place


def check_output(folder: Path, recorded: Path) -> None:
    """Make sure that nothing recorded is written over.

    Raises:
        LgbenchError: The two folders are one.
    """
    if folder.exists() and folder.samefile(recorded):
        raise LgbenchError(f"{str(folder)!r} is the folder of the recorded run itself. Choose another --output.")


def plan_again(
    record: TrainingRecord,
    *,
    model: str | None,
    hooks: Sequence[str] = (),
    start: str | None = None,
    method: str | None = None,
) -> RunSpec:
    """The plan to train a recorded run again by: the recorded one, of the files that the user names.

    Args:
        record: The record.
        model: What the user gave to `--model`: of a user's module lgbench runs no code that only a record names.
        hooks: What the user gave to `--hook`: likewise. Hooks of lgbench's own, and all options, are the recorded ones.
        start: What the user gave to `--start`: the checkpoint that the run started from, if it did.
        method: The method of the run, as the user or lgbench itself names it.

    Raises:
        LgbenchError: The run cannot be trained again here, or what the user named is not what was trained with.
    """
    if record.plan.is_pretrained:
        raise LgbenchError(
            f"The run finetuned {record.plan.model!r}, whose weights a record does not hold. Train it again with "
            f"`lgbench finetune`, and compare the two {RECORD}."
        )
    _check_tasks(record.plan)
    if not record.curve:
        raise LgbenchError("The record has no point of a curve yet: there is nothing to compare with.")
    _check_data(record)
    return _with_method(_with_start(_with_hooks(_with_module(record.plan, model), hooks), start), method)


def _check_data(record: TrainingRecord) -> None:
    if record.source is not None:
        raise LgbenchError(
            f"The run's examples came from {record.source}, which a Python program gave to it: train it again there."
        )
    if record.changes and not record.plan.hooks and record.plan.method is None:
        raise LgbenchError(
            "The run's data was changed by a hook that a Python program gave to it, which no record holds: train it "
            "again there."
        )


def _with_hooks(plan: RunSpec, named: Sequence[str]) -> RunSpec:
    """A plan with the user's hooks as the user names them."""
    again, left = [], list(named)
    for hook in plan.hooks:
        if hook.name in HOOKS:
            left = [name for name in left if name != hook.name]
            again.append(hook)
            continue
        found = [name for name in left if split_place(name)[1] == split_place(hook.name)[1]]
        if not found:
            raise LgbenchError(
                f"The run had the hook {hook.name!r}. lgbench runs no code because a record names it: name it yourself "
                "with --hook FILE.py:CLASS."
            )
        name = found[0]
        left.remove(name)
        check_texts({"--hook": name})
        sha256 = file_sha256(name)
        if hook.sha256 not in (None, sha256):
            raise LgbenchError(
                f"{name!r} is not the hook of the run, {hook.name!r}: the SHA-256 of its file is "
                f"{sha256 or 'not known'}, recorded is {hook.sha256}."
            )
        again.append(hook.model_copy(update={"name": name, "sha256": sha256}))
    if left:
        had = ", ".join(hook.name for hook in plan.hooks) or "none"
        raise LgbenchError(f"The run had no hook {left[0]!r}. Its hooks: {had}.")
    return plan.model_copy(update={"hooks": tuple(again)})


def _with_start(plan: RunSpec, folder: str | None) -> RunSpec:
    if plan.start is None:
        if folder is not None:
            raise LgbenchError("The run did not start from a checkpoint: leave --start out.")
        return plan
    if folder is None:
        raise LgbenchError(
            f"The run started from the checkpoint {plan.start.folder!r}. Name the folder that holds it with --start: "
            f"the SHA-256 of its weights is {plan.start.sha256}."
        )
    again = plan.start.model_copy(update={"folder": folder})
    start_folder(again)
    return plan.model_copy(update={"start": again})


def _with_method(plan: RunSpec, named: str | None) -> RunSpec:
    """A plan with the user's method as the user names it."""
    if plan.method is None:
        if named is not None:
            raise LgbenchError("The run had no method: leave --method out.")
        return plan
    if named is None:
        raise LgbenchError(
            f"The run had the method {plan.method.name!r}. lgbench runs no code because a record names it: name it "
            "yourself with --method FILE.py:CLASS."
        )
    check_texts({"--method": named})
    again = plan.method.model_copy(update={"name": named, "sha256": file_sha256(named)})
    if again.identity != plan.method.identity:
        if again.sha256 == plan.method.sha256:
            raise LgbenchError(f"{named!r} is not the method of the run: that is another class, {plan.method.name!r}.")
        raise LgbenchError(
            f"{named!r} is not the method of the run, {plan.method.name!r}: the SHA-256 of its file is "
            f"{again.sha256 or 'not known'}, recorded is {plan.method.sha256 or 'none'}."
        )
    return plan.model_copy(update={"method": again})


def _check_tasks(plan: RunSpec) -> None:
    for part in (part for parts in (plan.parts, *(stage.parts for stage in plan.stages)) for part in parts):
        task = plan.loaded_suite.task(part.task)
        if part.task_version != task.version:
            raise LgbenchError(
                f"The run trained version {part.task_version} of {part.task}, whose examples this lgbench does not "
                f"draw: here it has version {task.version}. Take the lgbench that the record names."
            )
        task.check_length(part.max_length)


def _with_module(plan: RunSpec, model: str | None) -> RunSpec:
    if plan.other_model is None:
        if model is not None:
            raise LgbenchError("The run is of the reference model: leave --model out.")
        return plan
    if model is None and is_own(plan.model):
        return plan
    if model is None:
        raise LgbenchError(
            f"The run is of the module {plan.model!r}. lgbench runs no code because a record names it: name it "
            "yourself with --model FILE.py:BUILD."
        )
    check_texts({"--model": model})
    place = split_place(model)[0]
    if place.endswith(".py"):
        check_file(Path(place), f"{model!r} reads as file.py:function.")
    again = plan.model_copy(update={"model": model, "model_sha256": file_sha256(model)})
    if plan.model_sha256 not in (None, again.model_sha256):
        raise LgbenchError(
            f"{model!r} is not the module that was trained, {plan.model!r}: the SHA-256 of its file is "
            f"{again.model_sha256 or 'not known'}, recorded is {plan.model_sha256}."
        )
    if plan.model_sha256 is not None and (differs := difference(plan, again)) is not None:
        raise LgbenchError(f"{model!r} is not the module that was trained: {differs}.")
    return again


def reservations(record: TrainingRecord) -> list[str]:
    """What an equal curve will not say of a recorded run, in sentences."""
    found, plan = [], record.plan
    if record.data_changed:
        found.append(f"A hook changed what the run trained on: it is not a result of arm {plan.arm}.")
    if not plan.is_of_its_arm:
        found.append(f"The run trained {plan.mixture}, which is not arm {plan.arm}: it is not a result of the suite.")
    if plan.other_model is not None and plan.model_sha256 is None:
        found.append(
            f"The record has no hash of its module {plan.model!r}: whether --model is the same, it cannot say."
        )
    return found


def threads_of(record: TrainingRecord) -> contextlib.AbstractContextManager[None]:
    """Have PyTorch use as many threads as the recorded run did, on which sums depend, if there are as many cores."""
    threads = record.machine.threads
    return limited_threads(threads) if 0 < threads <= cores() else contextlib.nullcontext()


def last_step(record: TrainingRecord, until: int | None) -> int:
    """The step of the first recorded point at or after `until`; of the last one where there is none."""
    last = record.curve[-1].step
    return last if until is None else next((point.step for point in record.curve if point.step >= until), last)


def trained_before(plan: RunSpec, folder: Path, *, until: int) -> TrainingRecord | None:
    """The record of this run in a folder where an earlier call took it as far as asked for; else None.

    Raises:
        LgbenchError: What is there is damaged.
    """
    state = read_state(folder)
    if state is None and not (folder / RECORD).exists():
        return None
    record = state.record if state is not None else read_training_record(folder)
    if record.steps_done < until or difference(record.plan, plan) is not None:
        return None
    if state is not None and record.finished:  # killed before its checkpoint was whole
        return None
    return record


def fast_products(machine: Machine) -> bool:
    """Whether the machine of a run multiplied bfloat16 matrices fast; of a GPU that is not here it is assumed."""
    if machine.device == "cpu":
        return fast_bfloat16("cpu")
    return not torch.cuda.is_available() or fast_bfloat16("cuda")
