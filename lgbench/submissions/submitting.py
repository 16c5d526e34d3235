"""Putting checked results into a folder of submissions."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from lgbench.evaluation.folder import REPLIES_FILE, RESULT_FILE
from lgbench.evaluation.stored import SUBMITTED_CAPS, SYSTEM_FILE
from lgbench.results.schema import Result
from lgbench.submissions.checked import FileProblem
from lgbench.submissions.checking import check
from lgbench.submissions.copies import copied
from lgbench.submissions.system import check_system_name
from lgbench.util.errors import LgbenchError
from lgbench.util.files import TEMPORARY, owned_folder, write_atomically, write_errors
from lgbench.util.links import contents, refuse_links
from lgbench.util.records import MAX_RECORD_BYTES, InvalidFileError, Problem, parse_json, read_capped, read_record


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
        given = {field: value for field, value in self._asdict().items() if value is not None}
        return given | {"authors": list(self.authors)} if self.authors is not None else given


class Submitted(NamedTuple):
    """What `submit` did.

    Attributes:
        folder: The folder of the system.
        runs: The folders of the runs that were added.
        there: The folders of the runs that the system had already, just so.
        to_mend: What keeps its `system.json` from being valid: in a new one, the details that were not given.
    """

    folder: Path
    runs: tuple[Path, ...]
    there: tuple[Path, ...]
    to_mend: tuple[FileProblem, ...]


def submit(
    folders: Sequence[Path],
    *,
    name: str,
    details: Details,
    submissions: Path,
) -> Submitted:
    """Check results and copy them to `submissions/NAME/`: all of them, or with any problem none.

    What an existing `system.json` says is kept, and the details fill what it left empty; else one is written from them.
    A run that the system has already, with the same content, is left as it is.

    Args:
        folders: The folders of finished runs. Only their results and replies are copied.
        name: The system.
        details: Of the system, as far as its `system.json` does not say them.
        submissions: The folder of all submissions; made where there is none.

    Raises:
        LgbenchError: A result or a detail is not as it must be, with every problem; the system has another run of the
            same arm, group and seed, or says something else; there is nothing new; or the folder of submissions, the
            system or anything in it is a link.
    """
    try:
        check_system_name(name)
    except ValueError as error:
        raise LgbenchError(f"{name!r} is no name for a system: {error}.") from None
    target = submissions / name
    refuse_links(submissions, [name])
    refuse_links(target, contents(target))
    with write_errors(target):
        submissions.mkdir(exist_ok=True)
        with (
            owned_folder(submissions),  # two at once would each add to what the other checks
            tempfile.TemporaryDirectory(prefix=f".{name}-", suffix=TEMPORARY, dir=submissions) as temporary,
        ):
            return _submit(folders, target, details.given(), staging=Path(temporary) / name)


def has_notes(system: Path) -> bool:
    """Whether the `system.json` in a system's folder says how it was trained, or cannot be read."""
    try:
        return (system / SYSTEM_FILE).exists() and bool(_read_object(system / SYSTEM_FILE).get("training_notes"))
    except InvalidFileError:
        return True  # for the check to tell


def _submit(folders: Sequence[Path], target: Path, given: Mapping[str, Any], *, staging: Path) -> Submitted:
    """Build the system as it would be in `staging`, check it there, then move what is new to `target`."""
    if target.exists():
        shutil.copytree(target, staging, symlinks=True)
    else:
        staging.mkdir()
    is_told = _tell(staging / SYSTEM_FILE, target / SYSTEM_FILE, given)
    problems, sources, there = _stage(folders, target, staging)
    if there and not sources and not is_told:
        runs = "this run" if len(there) == 1 else f"these {len(there)} runs"
        raise LgbenchError(f"There is nothing new: {str(target)!r} has {runs} already.")
    to_mend: list[FileProblem] = []
    for path, problem in check([staging]).problems:
        of_given = problem.field.partition("[")[0] in given
        found = to_mend if path == staging / SYSTEM_FILE and not of_given else problems
        found.append(FileProblem(_shown(path, staging, target, sources), problem))
    problems += _copies(sources, target)
    if problems:
        raise LgbenchError("Nothing was submitted.\n" + "\n".join(map(str, problems)))
    if not target.exists():
        staging.rename(target)
    else:
        for run in sources:
            (staging / run).rename(target / run)
        if is_told:
            (staging / SYSTEM_FILE).replace(target / SYSTEM_FILE)
    return Submitted(target, tuple(target / run for run in sources), tuple(there), tuple(to_mend))


def _stage(
    folders: Sequence[Path], target: Path, staging: Path
) -> tuple[list[FileProblem], dict[str, Path], list[Path]]:
    """Copy runs to `staging`.

    Returns:
        What is wrong, by the name of each new run where it came from, and the runs that `target` has just so.
    """
    problems: list[FileProblem] = []
    sources: dict[str, Path] = {}
    there: list[Path] = []
    for folder in folders:
        try:
            run = _run_name(read_record(folder / RESULT_FILE, Result))
            content = _content(folder)
        except InvalidFileError as error:
            problems += [FileProblem(error.path, problem) for problem in error.problems]
            continue
        if run not in sources and (target / run).is_dir() and _content(target / run) == content:
            there.append(target / run)
            continue
        if (staging / run).exists():
            other = str(sources.get(run, target / run))
            same = f"{str(folder)!r} is another run of the same arm, group and seed as {other!r}."
            raise LgbenchError(f"Nothing was submitted. {same}")
        (staging / run).mkdir()
        sources[run] = folder
        for file, written in content.items():
            write_atomically(staging / run / file, written)
    return problems, sources, there


def _copies(sources: Mapping[str, Path], target: Path) -> Iterator[FileProblem]:
    """The new runs whose replies another system of the folder has given."""
    systems: dict[str, dict[str, Result]] = {}
    for path in sorted(target.parent.glob(f"*/*/{RESULT_FILE}")):
        if not path.is_relative_to(target):
            with suppress(InvalidFileError):  # it is for `lgbench validate` to tell
                systems.setdefault(path.parts[-3], {})[path.parts[-2]] = read_record(path, Result)
    systems[target.name] = {run: read_record(folder / RESULT_FILE, Result) for run, folder in sources.items()}
    for system, run, problem in copied(systems):
        if system == target.name:
            yield FileProblem(sources[run] / RESULT_FILE, problem)


def _content(folder: Path) -> dict[str, bytes]:
    """The files of a run that are submitted, as far as there are any: `check` tells what lacks.

    Raises:
        InvalidFileError: One cannot be read, or is too large.
    """
    caps = {RESULT_FILE: MAX_RECORD_BYTES, REPLIES_FILE: SUBMITTED_CAPS.packed}
    return {file: read_capped(folder / file, most) for file, most in caps.items() if (folder / file).exists()}


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


def _tell(staged: Path, path: Path, given: Mapping[str, Any]) -> bool:
    """Write to `staged` the `system.json` at `path`, or an empty one, with what it lacks filled in from the details.

    Returns:
        Whether it now says anything that it did not say at `path`.
    """
    record: dict[str, Any] = {
        "name": path.parent.name,
        "description": "",
        "authors": [],
        "link": None,
        "licence": "",
        "parameters": None,
        "training_notes": "",
        "reproduced_by": None,
    }
    if path.exists():
        record = _read_object(path) if given else {}
    if told := [field for field, value in given.items() if record.get(field) not in ("", [], None, value)]:
        raise LgbenchError(f"{str(path)!r} says {', '.join(told)} already: change it there, and leave the option out.")
    if path.exists() and all(record.get(field) == value for field, value in given.items()):
        return False
    try:
        content = json.dumps({**record, **given}, indent=1, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError as error:  # from a terminal of another encoding
        around = str(error.object)[max(0, error.start - 20) : error.end]
        raise LgbenchError(f"Nothing was submitted. This is not valid UTF-8: {around!r}.") from None
    write_atomically(staged, content)
    return True


def _read_object(path: Path) -> dict[str, Any]:
    try:
        record = parse_json(read_capped(path, MAX_RECORD_BYTES))
    except ValueError as error:
        raise InvalidFileError(path, [Problem("", f"is not valid JSON: {error}.")]) from None
    if not isinstance(record, dict):
        raise InvalidFileError(path, [Problem("", "is no JSON object.")])
    return record
