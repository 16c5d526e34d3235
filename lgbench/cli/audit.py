"""`lgbench audit`: verify a submitted system, as maintainers do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lgbench.data.suites import Suite
    from lgbench.submissions.audit_record import AuditRecord
    from lgbench.submissions.checked import Submission


def command(
    system: Annotated[Path, typer.Argument(metavar="SYSTEM", help="The system's folder, as submissions/my-system.")],
    auditor: Annotated[str, typer.Option(help="Who audits, as the record names them.")],
    suite: Annotated[str, typer.Option(help="The suite.")] = "mini-v1",
    retrained: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Record a run that `lgbench retrain` trained again, instead of asking weights; may be repeated.",
            show_default=False,
        ),
    ] = None,
    nonce: Annotated[
        str | None,
        typer.Option(help="The key of the audit cells, 16 to 64 hexadecimal digits.", show_default="drawn"),
    ] = None,
    examples: Annotated[int, typer.Option(help="Examples of an audit cell.", min=1, max=1000)] = 64,
    weights: Annotated[
        Path | None,
        typer.Option(help="A folder with local copies of the weights, RUN.safetensors.", show_default="downloaded"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:BUILD", help="The module, if it is not the reference model. It is run: read it."),
    ] = None,
    device: Annotated[str, typer.Option(help="Where the models run.")] = "auto",
) -> None:
    """Check a system's weights on fresh examples, and write the outcome to audits/. For maintainers.

    If the outcome does not agree with the posted results, or a run cannot be audited, the exit status is 1.
    """
    from lgbench.audits.auditing import Auditor, audit, draw_nonce
    from lgbench.audits.retrained import retrained_record
    from lgbench.audits.writing import check_nonce, write_audit
    from lgbench.data.suites import load_suite
    from lgbench.util.errors import LgbenchError
    from lgbench.util.text import LONGEST_PATH, plain

    found = load_suite(suite)
    submission = _read(system)
    failed: tuple[str, ...] = ()
    if retrained:
        if nonce or weights or model:
            raise LgbenchError("--retrained takes no --nonce, --weights or --model: no weights are asked.")
        record = retrained_record(submission, found, retrained, auditor=auditor)
    else:
        key = check_nonce(nonce or draw_nonce(), system)
        who = Auditor(name=auditor, nonce=key, examples=examples, weights=weights, model=model, device=device)
        typer.echo(f"Nonce: {key}")
        record, failed = audit(submission, found, system, who, on_run=lambda run: typer.echo(f"Audited {run.run}"))
    path = write_audit(record, system)
    _tell(submission, found, record)
    typer.echo(f"Wrote {plain(path, limit=LONGEST_PATH)}. Commit it under the label maintainer-change.")
    for each in failed:
        typer.echo(f"Not audited: {plain(each, limit=LONGEST_PATH)}", err=True)
    if failed or _disagrees(submission, record):
        raise typer.Exit(1)


def _read(system: Path) -> Submission:
    from lgbench.cli._progress import counting
    from lgbench.submissions.checking import check
    from lgbench.util.errors import LgbenchError

    with counting("checking runs", quiet=False) as report:
        checked = check([system], report=report)
    if checked.problems:
        raise LgbenchError("\n".join(map(str, checked.problems)))
    if len(checked.submissions) != 1:
        raise LgbenchError(f"{str(system)!r} is not the folder of one system. Name it, as in submissions/my-system.")
    return checked.submissions[0]


def _tell(submission: Submission, suite: Suite, record: AuditRecord) -> None:
    """Every finding, and the tier that follows."""
    from dataclasses import replace

    from lgbench.submissions.tiers import standing
    from lgbench.util.text import plain

    after = standing(replace(submission, audits=(*submission.audits, record)), suite)
    for run in record.audited:
        correct, total = sum(cell.correct for cell in run.cells), sum(cell.total for cell in run.cells)
        typer.echo(
            f"{run.run}: {correct:,} of {total:,} fresh examples right; {run.changed:,} of {run.asked_again:,} posted "
            "replies differ when decoded again."
        )
    for again in record.retrained:
        equal, where = again.points - again.differing, ", on another kind of machine" if again.elsewhere else ""
        typer.echo(
            f"{again.run}: {equal} of {again.points} points of the curve are equal, up to step {again.until}{where}."
        )
    typer.echo(f"{submission.system.name} is {after.tier} in {suite.name}.")
    for each in after.missing:
        typer.echo(f"  {plain(each, limit=2000)}")


def _disagrees(submission: Submission, record: AuditRecord) -> bool:
    """Whether weights did not do what was posted, or a curve differs where it should be equal."""
    from lgbench.submissions.agreement import disagreements

    results = {run.folder: run.result for run in submission.runs}
    if record.audited:
        return bool(list(disagreements([(results[run.run], run) for run in record.audited])))
    return any(again.differing and not again.elsewhere for again in record.retrained)
