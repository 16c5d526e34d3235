"""The tier and division of a system, and what it lacks for the next tier. Definitions: docs/rules.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from lgbench.data.groups import OPEN_ARM
from lgbench.data.suites import Suite
from lgbench.submissions.agreement import disagreements, is_among_seeds
from lgbench.submissions.audit_record import AuditRecord, training_digest
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.recorded import missing_for_recorded, named
from lgbench.training.spec import Division

_PRETRAINED = ("hf", "api")
"""The kinds of models that come from elsewhere."""


class Tier(IntEnum):
    """How far results are verified, ascending. Higher tiers are listed above lower ones, regardless of scores.

    Attributes:
        SELF_REPORTED: The counts follow from the replies. Nothing shows that a model gave these.
        RECORDED: Every run has the record of its training, and the records keep the rules.
        AUDITED: A maintainer had the weights answer fresh examples, which they got right as often.
        REPRODUCED: A maintainer trained a run of each arm again, and it came out the same.
    """

    SELF_REPORTED = 0
    RECORDED = 1
    AUDITED = 2
    REPRODUCED = 3

    def __str__(self) -> str:
        return self.name.lower().replace("_", "-")

    @property
    def is_verified(self) -> bool:
        """Whether a maintainer checked the model itself."""
        return self >= Tier.AUDITED


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The standing of a system with its runs of some arms.

    Attributes:
        division: `open` where any of its runs is, or where its declaration says what other data it used.
        tier: The tier of the runs.
        missing: What they lack for the next tier, in sentences; empty in the highest.
    """

    division: Division
    tier: Tier
    missing: tuple[str, ...] = ()


def standing(submission: Submission, suite: Suite) -> Standing:
    """The standing of a system in a suite, by its runs of trained arms."""
    runs = trained_runs(submission, suite)
    division: Division = "open" if _says_open(submission) or any(map(_is_open, runs)) else "closed"
    audits = [audit for audit in submission.audits if audit.suite == suite.name]
    needs = (
        (Tier.SELF_REPORTED, missing_for_recorded(runs, suite, submission.declaration)),
        (Tier.RECORDED, _missing_for_audited(runs, audits)),
        (Tier.AUDITED, _missing_for_reproduced(runs, audits)),
    )
    for tier, missing in needs:
        if found := tuple(missing):
            return Standing(division=division, tier=tier, missing=found)
    return Standing(division=division, tier=Tier.REPRODUCED)


def _says_open(submission: Submission) -> bool:
    """Whether a system itself declares that it used other data."""
    return submission.declaration is not None and bool(submission.declaration.open_data)


def _is_open(run: SubmittedRun) -> bool:
    """Whether a run is open: by its training record, or without one by the kind of its model, if that is pretrained."""
    return run.result.system.kind in _PRETRAINED if run.training is None else run.training.division == "open"


def _missing_for_audited(runs: Sequence[SubmittedRun], audits: Sequence[AuditRecord]) -> Iterator[str]:
    """Runs whose weights were not audited, and disagreements of audits with the posted results."""
    by_run = {(run.folder, run.result.replies_sha256): run for run in runs}
    seen: set[str] = set()
    for audit in audits:
        pairs = [(by_run[key], each) for each in audit.audited if (key := (each.run, each.replies_sha256)) in by_run]
        yield from disagreements([(run.result, each) for run, each in pairs])
        seen |= {run.folder for run, _ in pairs}
    if unseen := [run.folder for run in runs if run.folder not in seen]:
        yield f"No maintainer has audited the weights of {named(unseen)}."


def _missing_for_reproduced(runs: Sequence[SubmittedRun], audits: Sequence[AuditRecord]) -> Iterator[str]:
    """Arms of which no run was trained again to its end, and runs that did not come out the same."""
    records = {run.folder: run.training for run in runs if run.training is not None}
    done: set[tuple[str, str]] = set()
    for each in (retrained for audit in audits for retrained in audit.retrained):
        record = records.get(each.run)
        if record is None or training_digest(record) != each.training_sha256:
            continue
        arm = (record.plan.group, record.plan.arm)
        seeds = [other for other in records.values() if (other.plan.group, other.plan.arm) == arm]
        steps = record.plan.settings.steps
        if not each.differing and each.until < steps:
            yield f"{each.run} was trained again up to step {each.until:,} of {steps:,} only."
        elif not each.differing or (
            each.elsewhere and each.zone_correct is not None and is_among_seeds(each.zone_correct, seeds)
        ):
            done.add(arm)
        else:
            where = ", on another kind of machine" if each.elsewhere else ""
            yield f"{each.run} was trained again{where}: {each.differing} of {each.points} points of its curve differ."
    wanted = dict.fromkeys((run.result.group or "", run.result.arm) for run in runs)
    if left := [f"{arm} of {group}" for group, arm in wanted if (group, arm) not in done]:
        yield f"No maintainer has trained a run of {named(left)} again."


def trained_runs(submission: Submission, suite: Suite) -> tuple[SubmittedRun, ...]:
    """The runs of a system in a suite that are of a trained arm."""
    return tuple(run for run in submission.runs if run.result.suite == suite.name and run.result.arm != OPEN_ARM)
