"""Evaluates the weights of a system's runs on audit cells, and decodes some posted replies again."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lgbench.audits.cells import AGAIN, EXAMPLES, asked_again, audit_examples
from lgbench.audits.fetch import check_weights, fetch_weights
from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example
from lgbench.evaluation.environment import processor
from lgbench.evaluation.grading import as_reply
from lgbench.evaluation.rescoring import cell_examples, rescore_result
from lgbench.models.safe_call import ask_in_parts
from lgbench.submissions.audit_record import AuditedCell, AuditedRun, AuditRecord
from lgbench.submissions.checked import Submission, SubmittedRun
from lgbench.submissions.declaration import WEIGHTS_FILE, WeightsRecord
from lgbench.submissions.tiers import Tier, standing, trained_runs
from lgbench.training.record import TrainingRecord
from lgbench.util.errors import LgbenchError
from lgbench.util.users_code import file_sha256
from lgbench.version import __version__

if TYPE_CHECKING:
    from lgbench.models.loaded import Model

_BYTES_A_PARAMETER, _MORE_BYTES = 8, 10_000_000  # float64 is the widest; tables and masks are no parameters


@dataclass(frozen=True, kw_only=True)
class Auditor:
    """A maintainer's audit: who audits, and with which settings.

    Attributes:
        name: As the record names them.
        nonce: The key of the audit cells.
        examples: Of each audit cell.
        again: Posted replies of each cell that are decoded again.
        weights: A folder with local copies, `RUN.safetensors`; None downloads them.
        model: The module of runs that are not of the reference model, as `FILE.py:BUILD`, which is run.
        device: Where the models run; `auto` takes what is fastest.
    """

    name: str
    nonce: str
    examples: int = EXAMPLES
    again: int = AGAIN
    weights: Path | None = None
    model: str | None = None
    device: str = "auto"

    def check(self, run: SubmittedRun, folder: Path, suite: Suite) -> AuditedRun:
        """Audit a run.

        Args:
            run: The run, with a training record.
            folder: Its folder.
            suite: Its suite.

        Raises:
            LgbenchError: Its weights cannot be had, or are not those of the model that its record describes.
        """
        assert run.training is not None
        offered = self._offered(run)
        with tempfile.TemporaryDirectory(prefix="lgbench-audit-") as temporary:
            model = self._load(run.training, offered, Path(temporary), run.folder)
            stored = rescore_result(run.result, folder)[1]
            cells, changed, asked = [], 0, 0
            for cell in (Cell(each.task, each.length) for each in run.result.cells):
                fresh = audit_examples(suite, cell, self.nonce, self.examples)
                posted = cell_examples(suite, cell)
                again = [posted[index] for index in asked_again(suite, cell, self.nonce, self.again)]
                texts = _ask(model, [*fresh, *again])
                correct = sum(text == each.target for text, each in zip(texts, fresh, strict=False))
                cells.append(AuditedCell(task=cell.task, length=cell.length, correct=correct, total=len(fresh)))
                asked += len(again)
                for text, example in zip(texts[len(fresh) :], again, strict=True):
                    before = stored.get(example.id)
                    changed += text != (example.target if before is None else before.text)
        return AuditedRun(
            run=run.folder,
            replies_sha256=run.result.replies_sha256,
            weights_sha256=offered.sha256,
            cells=tuple(cells),
            asked_again=asked,
            changed=changed,
        )

    def _offered(self, run: SubmittedRun) -> WeightsRecord:
        """The hash and the URL of a run's weights."""
        if run.weights is not None:
            return run.weights
        hashes = run.result.system.source_sha256
        if self.weights is not None and run.result.system.kind == "checkpoint" and len(hashes) == 1:
            return WeightsRecord(url="http://local", sha256=hashes[0])
        raise LgbenchError(f"{run.folder} has no {WEIGHTS_FILE}, which says where its weights can be had.")

    def _load(self, record: TrainingRecord, offered: WeightsRecord, folder: Path, run: str) -> Model:
        """The model of a run, built from its weights and its training record."""
        from lgbench.models.checkpoint import RECORD, WEIGHTS
        from lgbench.models.loading import load_model
        from lgbench.training.trainer import checkpoint_record
        from lgbench.util.records import write_record

        plan, options = record.plan, {"device": self.device}
        if plan.other_model is not None:
            options["build"] = self._module(record, run)
        target = folder / WEIGHTS
        if self.weights is None:
            fetch_weights(offered, target, most_bytes=_BYTES_A_PARAMETER * record.parameters + _MORE_BYTES)
        else:
            check_weights(local := self.weights / f"{run}.safetensors", offered)
            shutil.copy(local, target)
        described = checkpoint_record(plan, steps=record.steps_done, data_changed=record.data_changed)
        write_record(folder / RECORD, described)
        try:
            model = load_model(folder, options)
        except LgbenchError as error:
            raise LgbenchError(f"The weights of {run} cannot be used. {error}".replace(f" in {folder}", "")) from None
        if model.system.parameters != record.parameters:
            raise LgbenchError(
                f"The weights of {run} are of {model.system.parameters:,} parameters, and its record has "
                f"{record.parameters:,}."
            )
        return model

    def _module(self, record: TrainingRecord, run: str) -> str:
        plan = record.plan
        if self.model is None:
            raise LgbenchError(
                f"{run} is of the module {plan.model!r}. lgbench runs no code that a submission names: read it, and "
                "name it yourself with --model FILE.py:BUILD."
            )
        if plan.model_sha256 is not None and (found := file_sha256(self.model)) != plan.model_sha256:
            raise LgbenchError(
                f"{self.model!r} is not the module of {run}: its file has SHA-256 {found}, recorded is "
                f"{plan.model_sha256}."
            )
        return self.model


class Audit(NamedTuple):
    """What came out of an audit.

    Attributes:
        record: The runs that were audited.
        failed: The others, each with the reason.
    """

    record: AuditRecord
    failed: tuple[str, ...]


def audit(
    submission: Submission,
    suite: Suite,
    folder: Path,
    auditor: Auditor,
    *,
    on_run: Callable[[AuditedRun], None] = lambda _: None,
) -> Audit:
    """Audit every run of a system in a suite. A run that cannot be audited does not keep the others from it.

    Args:
        submission: The system.
        suite: The suite.
        folder: The system's folder.
        auditor: The maintainer and the settings.
        on_run: Called with each run when it is done.

    Raises:
        LgbenchError: The system is not *recorded*, or no run can be audited.
    """
    audited, failed = list[AuditedRun](), list[str]()
    for run in recorded_runs(submission, suite):
        try:
            audited.append(auditor.check(run, folder / run.folder, suite))
        except LgbenchError as error:
            failed.append(f"{run.folder}: {error}")
        else:
            on_run(audited[-1])
    if not audited:
        raise LgbenchError("\n".join(["No run could be audited.", *failed]))
    record = AuditRecord(
        system=submission.system.name,
        suite=suite.name,
        auditor=auditor.name,
        moment=datetime.now(UTC).replace(microsecond=0),
        lgbench=__version__,
        machine=_machine(),
        nonce=auditor.nonce,
        audited=tuple(audited),
        retrained=(),
    )
    return Audit(record, tuple(failed))


def recorded_runs(submission: Submission, suite: Suite) -> Sequence[SubmittedRun]:
    """The runs of trained arms of a system.

    Raises:
        LgbenchError: There are none, or they do not make the system *recorded*.
    """
    runs = trained_runs(submission, suite)
    name = submission.system.name
    if not runs:
        raise LgbenchError(f"{name} has no run of a trained arm in {suite.name}.")
    found = standing(submission, suite)
    if found.tier < Tier.RECORDED:
        raise LgbenchError(
            f"{name} is {found.tier} in {suite.name}: only what is recorded can be verified.\n"
            + "\n".join(found.missing)
        )
    return runs


def draw_nonce() -> str:
    """A new nonce: 128 random bits."""
    return secrets.token_hex(16)


def _machine() -> str:
    name = None
    with suppress(ImportError):
        import torch

        name = f"PyTorch {torch.__version__}"
    return ", ".join(part for part in (processor(), name) if part) or "unknown"


def _ask(model: Model, examples: Sequence[Example]) -> list[str]:
    """The model's replies to examples of one task, in the form of a stored evaluation."""
    replies: dict[int, str] = {}
    prompts = [example.prompt for example in examples]
    for part in ask_in_parts(model.predictor, prompts, examples[0].task, batch_size=None):  # type: ignore[arg-type]
        replies |= part
    return [as_reply(replies[position]).text for position in range(len(examples))]
