"""Reading `audits/`: what maintainers found of each system, which only they may change."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from lgbench.submissions.audit_record import AuditRecord
from lgbench.submissions.problems import Report
from lgbench.submissions.system import check_system_name
from lgbench.util.records import MAX_RECORD_BYTES, InvalidFileError, read_record

AUDITS_FOLDER = "audits"
_README_FILE = "README.md"
_FILE = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.json")
_MOST_FILES = 1000


def audits_beside(submissions: Path) -> Path:
    """The folder of audits that belongs to a folder of submissions."""
    return Path(os.path.normpath(submissions.absolute())).parent / AUDITS_FOLDER


def read_audits(folder: Path, report: Report) -> dict[str, tuple[AuditRecord, ...]]:
    """Every audit in a folder, by system; those with problems are reported and left out.

    Args:
        folder: The folder of audits, which need not exist.
        report: Where the problems go.
    """
    found: dict[str, list[AuditRecord]] = {}
    nonces: dict[str, Path] = {}
    for path in _files(folder, report):
        try:
            record = read_record(path, AuditRecord, max_bytes=MAX_RECORD_BYTES)
        except InvalidFileError as error:
            report.add_error(error)
            continue
        if record.system != path.parent.name:
            report.add(path, "system", f"is {record.system!r}, but the folder is called {path.parent.name!r}.")
        elif record.nonce is not None and (first := nonces.setdefault(record.nonce, path)) != path:
            message = (
                f"is that of {first.parent.name}/{first.name}: each audit draws its own, which nobody knew before."
            )
            report.add(path, "nonce", message)
        else:
            found.setdefault(record.system, []).append(record)
    return {system: tuple(records) for system, records in found.items()}


def _files(folder: Path, report: Report) -> Iterator[Path]:
    """The files of audits, by system and name. Any other file is a problem."""
    if not (folder.exists() or folder.is_symlink()):
        return
    for path in _entries(folder, report):
        if path.is_dir() and not path.is_symlink():
            try:
                check_system_name(path.name)
            except ValueError as error:
                report.add(path, "", f"is not a name for a system: {error}.")
                continue
            for file in _entries(path, report):
                if _FILE.fullmatch(file.name):
                    yield file  # a link, a pipe or a folder is refused where it is read
                else:
                    report.add(file, "", "does not belong here. A system's folder of audits holds records NAME.json.")
        elif path.name != _README_FILE or path.is_symlink():
            message = f"does not belong here. This folder holds one folder for each audited system, and {_README_FILE}."
            report.add(path, "", message)


def _entries(folder: Path, report: Report) -> list[Path]:
    if folder.is_symlink() or not folder.is_dir():
        report.add(folder, "", "is not a folder. Audits lie in a folder of their own, which is not a link.")
        return []
    entries = sorted(folder.iterdir())
    if len(entries) > _MOST_FILES:
        report.add(folder, "", f"holds {len(entries):,} files; at most {_MOST_FILES:,} are allowed.")
    return entries[:_MOST_FILES]
