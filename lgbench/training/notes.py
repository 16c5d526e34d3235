"""How runs were trained, in a sentence for the record of a submission."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lgbench.evaluation.folder import RESULT_FILE
from lgbench.results.schema import Result
from lgbench.training.record import RECORD, TrainingRecord, read_training_record
from lgbench.training.settings import PRESETS, preset_settings
from lgbench.training.spec import RunSpec
from lgbench.util.records import InvalidFileError, read_record

# They change no weight, or, as the precision of a preset may be `auto`, are told by themselves.
_NOT_TOLD = frozenset({"workers", "evaluate_every", "precision"})


def record_beside(result: Path) -> TrainingRecord | None:
    """The record of the training run whose result this folder in it is; None where there is none that can be read."""
    return _record_of(result, result.parent)


def _record_of(result: Path, folder: Path) -> TrainingRecord | None:
    """The record in a folder, where it is of the run that a result is of."""
    if not (folder / RECORD).is_file():
        return None
    try:
        record, scored = read_training_record(folder), read_record(result / RESULT_FILE, Result)
    except InvalidFileError:
        return None
    plan = record.plan
    of_run = (plan.suite, plan.group, plan.arm, plan.seed) == (scored.suite, scored.group, scored.arm, scored.seed)
    return record if of_run else None


def how_trained(result: Path) -> str | None:
    """Steps, batch, method and division of the run that a result is of, as in `4,200 steps of 32 examples`.

    Args:
        result: The folder of the result: within the run's, or that of a submission, which holds the record too.

    Returns:
        A clause; None where there is no record of the run that can be read.
    """
    record = record_beside(result) or _record_of(result, result)
    if record is None:
        return None
    plan = record.plan
    told = [f"{plan.settings.steps:,} steps of {plan.settings.batch} examples"]
    if plan.method is not None:
        told.append(f"the method {plan.method.name}")
    if plan.start is not None:
        told.append("a checkpoint to start from")
    if record.division == "open":
        told.append("other data than the arm's (open division)")
    return " with ".join(filter(None, [told[0], " and ".join(told[1:])]))


def training_notes(records: Sequence[TrainingRecord]) -> str:
    """What trained some runs, at least one: versions, preset, each setting that differs from it, model and method."""
    groups: dict[str, dict[str, None]] = {}
    for record in records:
        groups.setdefault(_recipe(record), {})[record.plan.group] = None
    if len(groups) == 1:
        return f"{next(iter(groups))}."
    return "; ".join(f"{', '.join(names)}: {recipe}" for recipe, names in groups.items()) + "."


def _recipe(record: TrainingRecord) -> str:
    plan, machine = record.plan, record.machine
    told = [f"lgbench {machine.lgbench} with torch {machine.torch} on {machine.device}", f"preset {plan.preset}"]
    told += _changes(plan)
    told.append(f"{plan.settings.precision} products")
    if plan.other_model is not None:
        sha256 = "" if plan.model_sha256 is None else f" (SHA-256 {plan.model_sha256})"
        told.append(f"model {Path(plan.other_model).name}{sha256}")  # where it lay is nobody's business
        told += [f"{key}={text}" for key, text in plan.model_options.items()]
    if plan.method is not None:
        name, options, sha256 = plan.method.identity
        given = ", ".join(
            [f"{key}={text}" for key, text in options.items()] + ([f"SHA-256 {sha256}"] if sha256 else [])
        )
        told.append(f"method {name} ({given})" if given else f"method {name}")
    if plan.start is not None:
        parts = f"{', '.join(plan.start.parts)} of " if plan.start.parts else ""
        told.append(f"started from {parts}a checkpoint (SHA-256 {plan.start.sha256})")
    if plan.lora_rank:
        told.append(f"LoRA of rank {plan.lora_rank}")
    return ", ".join(told)


def _changes(plan: RunSpec) -> list[str]:
    """The settings that are not the preset's, as they are given to `--set`; all, if there is no such preset."""
    settings = plan.settings.model_dump(exclude=set(_NOT_TOLD))
    if plan.preset in PRESETS:
        usual = preset_settings(plan.preset, plan.loaded_suite.domain(plan.suite_group))
        settings = {name: value for name, value in settings.items() if value != getattr(usual, name)}
    return [
        f"{name}={format(value, '.10g') if isinstance(value, float) else value}" for name, value in settings.items()
    ]
