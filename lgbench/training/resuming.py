"""What an earlier process left of a run, checked before it is gone on with."""

from __future__ import annotations

from pathlib import Path

from lgbench.models.checkpoint import RECORD as CHECKPOINT_RECORD
from lgbench.models.checkpoint import WEIGHTS
from lgbench.models.folders import CHECKPOINT
from lgbench.training.record import RECORD, TrainingRecord, read_training_record
from lgbench.training.spec import RunSpec, difference
from lgbench.training.state import STATE, SavedState, read_state
from lgbench.util.errors import LgbenchError


def saved_state(plan: RunSpec, folder: Path, *, resume: bool, source: str | None = None) -> SavedState | None:
    """The state to go on from, after checking that it is this run's."""
    state = read_state(folder)
    if state is not None:
        _check_same(plan, state.record, folder, resume=resume, source=source)
    return state


def finished_before(plan: RunSpec, folder: Path, *, resume: bool, source: str | None = None) -> TrainingRecord | None:
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
    _check_same(plan, record, folder, resume=resume, source=source)
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


def _check_same(plan: RunSpec, found: TrainingRecord, folder: Path, *, resume: bool, source: str | None) -> None:
    differs = difference(found.plan, plan)
    if differs is None and found.source != source:
        differs = f"its examples are those of {found.source or 'its plan'} there and of {source or 'its plan'} here"
    if differs is not None:
        again = "Resume it with the same options, or choose" if resume else "Choose"
        raise LgbenchError(f"{str(folder)!r} holds another run ({differs}). {again} another --output.")
    if not resume and found.finished and not (folder / STATE).exists():
        raise LgbenchError(
            f"{str(folder)!r} holds this run, already trained. Evaluate it, or choose another --output. If it was "
            "interrupted after its last step, --resume completes it."
        )
    if not resume:
        raise LgbenchError(
            f"{str(folder)!r} holds this run after {found.steps_done} of {plan.settings.steps} steps. "
            "Go on with --resume, or choose another --output."
        )
