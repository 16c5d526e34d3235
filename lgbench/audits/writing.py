"""Audit records as files."""

from __future__ import annotations

import re
from pathlib import Path

from lgbench.submissions.audit_record import AuditRecord
from lgbench.submissions.audits import audits_beside, read_audits
from lgbench.submissions.problems import Report
from lgbench.util.errors import LgbenchError
from lgbench.util.files import write_errors
from lgbench.util.links import refuse_links
from lgbench.util.records import write_record

_NONCE = re.compile(r"[0-9a-f]{16,64}")


def check_nonce(nonce: str, system: Path) -> str:
    """The nonce, if it can be the key of an audit.

    Args:
        nonce: The nonce.
        system: The folder of the system that is to be audited.

    Raises:
        LgbenchError: It is none, or an audit has used it.
    """
    if not _NONCE.fullmatch(nonce):
        raise LgbenchError(f"{nonce!r:.100} is not a nonce: give 16 to 64 hexadecimal digits, or leave it to lgbench.")
    report = Report()
    for name, records in read_audits(_folder(system), report).items():
        for record in records:
            if record.nonce == nonce:
                raise LgbenchError(
                    f"The nonce {nonce} was used on {record.moment:%Y-%m-%d} for {name}: its examples are known. Draw "
                    "another, or leave it to lgbench."
                )
    return nonce


def write_audit(record: AuditRecord, system: Path) -> Path:
    """Write a record to the folder of audits, and return its path.

    Raises:
        LgbenchError: It cannot be written, or the file exists.
    """
    kind = f"retrained-{record.moment:%Y%m%d%H%M%S}" if record.nonce is None else record.nonce[:16]
    folder = _folder(system)
    path = folder / record.system / f"{record.suite}-{kind}.json"
    refuse_links(folder, [record.system, f"{record.system}/{path.name}"])
    if path.exists():
        raise LgbenchError(f"{str(path)!r} exists. An audit is never written over.")
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_record(path, record)
    return path


def _folder(system: Path) -> Path:
    return audits_beside(system.absolute().parent)
