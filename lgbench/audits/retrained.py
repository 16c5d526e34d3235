"""Runs that a maintainer trained again, as an audit records them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from lgbench.audits.auditing import recorded_runs
from lgbench.data.suites import Suite
from lgbench.submissions.agreement import zone_correct
from lgbench.submissions.audit_record import AuditRecord, RetrainedRun, training_digest
from lgbench.submissions.checked import Submission
from lgbench.training.curve_diff import compare, machine_differences
from lgbench.training.record import TrainingRecord, read_training_record
from lgbench.training.spec import difference
from lgbench.util.errors import LgbenchError
from lgbench.version import __version__


def retrained_record(submission: Submission, suite: Suite, folders: Sequence[Path], *, auditor: str) -> AuditRecord:
    """The audit record of runs of a system that were trained again.

    Args:
        submission: The system.
        suite: The suite.
        folders: The folders of `lgbench retrain`, each with a `training.json`.
        auditor: The maintainer who trained them.

    Raises:
        LgbenchError: The system is not *recorded*, a folder holds no run of it, or has no point of the curve yet.
    """
    from lgbench.training.retraining import fast_products  # loads PyTorch

    runs = [run for run in recorded_runs(submission, suite) if run.training is not None]
    records = {run.folder: run.training for run in runs if run.training is not None}
    found = []
    machine = ""
    for folder in folders:
        here = read_training_record(folder)
        place = here.machine
        machine = f"{place.processor or place.platform}, {place.device}, PyTorch {place.torch}"
        name = _its_run(folder, here, records)
        if not here.curve:
            raise LgbenchError(f"The run in {str(folder)!r} has no point of its curve yet: train it further.")
        recorded, until = records[name], here.curve[-1].step
        comparison = compare(recorded, here, until=until)
        differing = len(comparison.recorded) if comparison.counts else len(comparison.differing)
        found.append(
            RetrainedRun(
                run=name,
                training_sha256=training_digest(recorded),
                until=until,
                points=len(comparison.recorded),
                differing=differing,
                elsewhere=bool(machine_differences(recorded, place, fast_bfloat16=fast_products(place))),
                zone_correct=zone_correct(here) if here.finished else None,
            )
        )
    return AuditRecord(
        system=submission.system.name,
        suite=suite.name,
        auditor=auditor,
        moment=datetime.now(UTC).replace(microsecond=0),
        lgbench=__version__,
        machine=machine,
        nonce=None,
        audited=(),
        retrained=tuple(found),
    )


def _its_run(folder: Path, here: TrainingRecord, records: dict[str, TrainingRecord]) -> str:
    """The name of the run that was trained again."""
    for name, record in records.items():
        if difference(record.plan, here.plan) is None:
            return name
    raise LgbenchError(f"The run in {str(folder)!r} is none of this system's: no training record has its plan.")
