"""Putting checked results into a folder of submissions."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from lgbench.errors import LgbenchError
from lgbench.records import InvalidFileError, read_record
from lgbench.results import Result
from lgbench.running.folder import REPLIES_FILE, RESULT_FILE
from lgbench.submissions.checking import FileProblem, check
from lgbench.submissions.system import SYSTEM_FILE, check_system_name


class Details(NamedTuple):
    """What a submitter tells of a new system: fields of `SystemRecord`, None for those not given."""

    description: str | None = None
    authors: Sequence[str] | None = None
    link: str | None = None
    licence: str | None = None
    parameters: int | None = None
    training_notes: str | None = None

    def given(self) -> dict[str, Any]:
        """Those that are given."""
        return {field: value for field, value in self._asdict().items() if value is not None}


class Submitted(NamedTuple):
    """What `submit` did.

    Attributes:
        folder: The folder of the system.
        runs: The folders of the runs that were added.
        to_mend: What keeps its `system.json` from being valid: in a new one, the details that were not given.
    """

    folder: Path
    runs: tuple[Path, ...]
    to_mend: tuple[FileProblem, ...]


def submit(
    folders: Sequence[Path],
    *,
    name: str,
    details: Details,
    submissions: Path,
) -> Submitted:
    """Check results and copy them to `submissions/NAME/`: all of them, or with any problem none.

    An existing `system.json` is kept; else one is written from the details, with what is missing left empty.

    Args:
        folders: The folders of finished runs. Only their results and replies are copied.
        name: The system.
        details: Of a new system.
        submissions: The folder of all submissions; made where there is none.

    Raises:
        LgbenchError: A result or a detail is not as it must be, with every problem; or the system has the run already.
    """
    try:
        check_system_name(name)
    except ValueError as error:
        raise LgbenchError(f"{name!r} is no name for a system: {error}.") from None
    target = submissions / name
    given = details.given()
    if given and (target / SYSTEM_FILE).exists():
        fields = ", ".join(given)
        raise LgbenchError(f"{str(target / SYSTEM_FILE)!r} exists: change {fields} there, and leave the options out.")
    try:
        submissions.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=submissions) as temporary:
            return _submit(folders, target, given, staging=Path(temporary) / name)
    except OSError as error:
        raise LgbenchError(f"Cannot write to {str(target)!r}: {error.strerror or error}.") from error


def _submit(folders: Sequence[Path], target: Path, given: Mapping[str, Any], *, staging: Path) -> Submitted:
    """Build the system as it would be in `staging`, check it there, then move what is new to `target`."""
    if target.exists():
        shutil.copytree(target, staging, symlinks=True)
    else:
        staging.mkdir()
    if is_new := not (staging / SYSTEM_FILE).exists():
        (staging / SYSTEM_FILE).write_text(_system_text(staging.name, given), "utf-8")
    problems, sources = _stage(folders, target, staging)
    to_mend: list[FileProblem] = []
    for path, problem in check([staging]).problems:
        of_given = problem.field.partition("[")[0] in given
        found = to_mend if path == staging / SYSTEM_FILE and not of_given else problems
        found.append(FileProblem(_shown(path, staging, target, sources), problem))
    if problems:
        raise LgbenchError("Nothing was submitted.\n" + "\n".join(map(str, problems)))
    if not target.exists():
        staging.rename(target)
    else:
        for run in sources:
            (staging / run).rename(target / run)
        if is_new:
            (staging / SYSTEM_FILE).rename(target / SYSTEM_FILE)
    return Submitted(target, tuple(target / run for run in sources), tuple(to_mend))


def _stage(folders: Sequence[Path], target: Path, staging: Path) -> tuple[list[FileProblem], dict[str, Path]]:
    """Copy runs to `staging`; give back what is wrong, and by the name of each new run where it came from."""
    problems: list[FileProblem] = []
    sources: dict[str, Path] = {}
    for folder in folders:
        try:
            run = _run_name(read_record(folder / RESULT_FILE, Result))
        except InvalidFileError as error:
            problems += [FileProblem(error.path, problem) for problem in error.problems]
            continue
        if (staging / run).exists():
            there = sources.get(run, Path("submissions", staging.name, run))
            raise LgbenchError(
                f"Nothing was submitted. {str(folder)!r} is the same run of the system as {str(there)!r}."
            )
        (staging / run).mkdir()
        sources[run] = folder
        for file in (RESULT_FILE, REPLIES_FILE):
            if (folder / file).exists():
                shutil.copyfile(folder / file, staging / run / file)
    return problems, sources


def _run_name(result: Result) -> str:
    """A name for the reader; nothing is read from it."""
    parts = (result.suite, result.group, result.arm, None if result.seed is None else f"seed{result.seed}")
    # A result from elsewhere may name a group "../..".
    return re.sub("[^A-Za-z0-9_]", "-", "-".join(part for part in parts if part))


def _shown(path: Path, staging: Path, target: Path, sources: Mapping[str, Path]) -> Path:
    """The path that the user knows for one in `staging`."""
    inside = path.relative_to(staging)
    if inside.parts and inside.parts[0] in sources:
        return sources[inside.parts[0]].joinpath(*inside.parts[1:])
    return target / inside


def _system_text(name: str, given: Mapping[str, Any]) -> str:
    record: dict[str, Any] = {
        "name": name,
        "description": "",
        "authors": [],
        "link": None,
        "licence": "",
        "parameters": None,
        "training_notes": "",
    }
    record |= {**given, "reproduced_by": None}
    return json.dumps(record, indent=1, ensure_ascii=False) + "\n"
