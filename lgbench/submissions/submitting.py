"""Copies checked results into a folder of submissions."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from lgbench.evaluation.folder import REPLIES_FILE, RESULT_FILE
from lgbench.evaluation.offsite import MAX_OFFSITE_BYTES, OFFSITE_FILE, OffsiteReplies, stored_at
from lgbench.evaluation.stored import SUBMITTED_CAPS, SYSTEM_FILE
from lgbench.results.schema import Result
from lgbench.submissions.checked import FileProblem
from lgbench.submissions.checking import check
from lgbench.submissions.copies import Trace, copied, trace
from lgbench.submissions.declaration import (
    DECLARATION_FILE,
    MAX_WEIGHTS_BYTES,
    WEIGHTS_FILE,
    Declaration,
    WeightsRecord,
    told,
)
from lgbench.submissions.system import check_system_name
from lgbench.training.notes import record_beside
from lgbench.training.planned import weights_sha256
from lgbench.training.record import RECORD
from lgbench.util.counting import CountReport, no_report
from lgbench.util.errors import LgbenchError
from lgbench.util.files import TEMPORARY, owned_folder, write_atomically, write_errors
from lgbench.util.links import contents, refuse_links
from lgbench.util.records import (
    MAX_RECORD_BYTES,
    InvalidFileError,
    Problem,
    parse_json,
    read_capped,
    read_record,
    write_record,
)

_CAPS = {
    RESULT_FILE: MAX_RECORD_BYTES,
    REPLIES_FILE: SUBMITTED_CAPS.packed,
    OFFSITE_FILE: MAX_OFFSITE_BYTES,
    RECORD: MAX_RECORD_BYTES,
    WEIGHTS_FILE: MAX_WEIGHTS_BYTES,
}
"""The files of a run, and the most bytes of each."""


class Details(NamedTuple):
    """What a submitter states about a system: fields of `SystemRecord`, None for those not given."""

    description: str | None = None
    authors: Sequence[str] | None = None
    link: str | None = None
    licence: str | None = None
    parameters: int | None = None
    training_notes: str | None = None

    def given(self) -> dict[str, Any]:
        """The fields that are given."""
        given = {field: value for field, value in self._asdict().items() if value is not None}
        return given | {"authors": list(self.authors)} if self.authors is not None else given


class Addresses(NamedTuple):
    """Where files of the submitted runs can be had, each an address with `{run}` for the name of a run's folder.

    Attributes:
        weights: The weights; None if they are not offered.
        replies: The replies, which are then not submitted themselves; None to submit them.
    """

    weights: str | None = None
    replies: str | None = None

    def of(self, run: str) -> Addresses:
        """The addresses of a run's files."""
        return Addresses(*(address and address.replace("{run}", run) for address in self))


NO_ADDRESSES = Addresses()


class Submitted(NamedTuple):
    """The outcome of `submit`.

    Attributes:
        folder: The folder of the system.
        runs: The folders of the runs that were added.
        there: The folders of the runs that the system had already, with the same content.
        to_fix: Problems of its `system.json`, such as details that were not given.
        changed: The files of an existing system that were written, beside its runs.
    """

    folder: Path
    runs: tuple[Path, ...]
    there: tuple[Path, ...]
    to_fix: tuple[FileProblem, ...]
    changed: tuple[Path, ...] = ()


def submit(
    folders: Sequence[Path],
    *,
    name: str,
    details: Details,
    submissions: Path,
    declaration: Declaration | None = None,
    addresses: Addresses = NO_ADDRESSES,
    report: CountReport = no_report,
) -> Submitted:
    """Check results and copy them to `submissions/NAME/`: all of them, or none if there is any problem.

    The training record beside a result, from `lgbench train` or `reproduce`, is copied with it.

    The details fill the empty fields of an existing `system.json`, or make a new one. A run that the system already has
    with the same content is left unchanged.

    Args:
        folders: The folders of finished runs. Only their results, replies and training records are copied.
        name: The system.
        details: The fields that its `system.json` lacks.
        submissions: The folder of all submissions. It is created if needed.
        declaration: How the settings of the system were chosen, if that is to be written.
        addresses: Where the weights of the runs are, and their replies if these are not submitted.
        report: Called with the numbers of checked runs and of all runs of the system.

    Raises:
        LgbenchError: A result or a detail is not as it must be, with every problem; the system has another run of the
            same arm, group and seed, or says something else; there is nothing new; or the folder of submissions, the
            system or anything in it is a link.
    """
    try:
        check_system_name(name)
    except ValueError as error:
        raise LgbenchError(f"{name!r} is not a name for a system: {error}.") from None
    target = submissions / name
    refuse_links(submissions, [name])
    refuse_links(target, contents(target))
    with write_errors(target):
        submissions.mkdir(exist_ok=True)
        with (
            owned_folder(submissions),  # two at the same time would each add to what the other checks
            tempfile.TemporaryDirectory(prefix=f".{name}-", suffix=TEMPORARY, dir=submissions) as temporary,
        ):
            staging = Path(temporary) / name
            return _submit(
                folders,
                target,
                details.given(),
                staging=staging,
                declaration=declaration,
                addresses=addresses,
                report=report,
            )


def declaration_of(system: Path) -> dict[str, Any]:
    """What the `declaration.json` in a system's folder holds, complete or not; nothing where there is none.

    Raises:
        InvalidFileError: It cannot be read.
    """
    path = system / DECLARATION_FILE
    return _read_object(path) if path.exists() else {}


def has_notes(system: Path) -> bool:
    """Whether the `system.json` in a system's folder says how it was trained, or cannot be read."""
    try:
        return (system / SYSTEM_FILE).exists() and bool(_read_object(system / SYSTEM_FILE).get("training_notes"))
    except InvalidFileError:
        return True  # the check reports it


def _submit(
    folders: Sequence[Path],
    target: Path,
    given: Mapping[str, Any],
    *,
    staging: Path,
    declaration: Declaration | None,
    addresses: Addresses,
    report: CountReport,
) -> Submitted:
    """Build the new system in `staging`, check it there, then move what is new to `target`."""
    if target.exists():
        shutil.copytree(target, staging, symlinks=True)
    else:
        staging.mkdir()
    is_written = _write_system(staging / SYSTEM_FILE, target / SYSTEM_FILE, given)
    is_declared = declaration is not None and _declare(staging / DECLARATION_FILE, target, declaration)
    problems, sources, there = _stage(folders, target, staging, addresses)
    if there and not sources and not is_written and not is_declared:
        runs = "this run" if len(there) == 1 else f"these {len(there)} runs"
        raise LgbenchError(f"There is nothing new: {str(target)!r} has {runs} already.")
    to_fix: list[FileProblem] = []
    for path, problem in check([staging], report=report).problems:
        of_given = problem.field.partition("[")[0] in given
        found = to_fix if path == staging / SYSTEM_FILE and not of_given else problems
        found.append(FileProblem(_shown(path, staging, target, sources), problem))
    problems += _copies(sources, target)
    if problems:
        raise LgbenchError("Nothing was submitted.\n" + "\n".join(map(str, problems)))
    changed: list[Path] = []
    if not target.exists():
        staging.rename(target)
    else:
        for run in sources:
            _move(staging / run, target / run)
        changed = [target / file for file in (SYSTEM_FILE,) * is_written + (DECLARATION_FILE,) * is_declared]
        for file in changed:
            (staging / file.name).replace(file)
    return Submitted(target, tuple(target / run for run in sources), tuple(there), tuple(to_fix), tuple(changed))


def _move(staged: Path, target: Path) -> None:
    """Move a run, or the files that an existing run lacks."""
    if not target.exists():
        staged.rename(target)
        return
    for file in staged.iterdir():
        if not (target / file.name).exists():
            file.replace(target / file.name)


def _declare(staged: Path, target: Path, declaration: Declaration) -> bool:
    """Write a declaration to `staged`. Returns whether it says anything that the system's does not.

    Raises:
        LgbenchError: The system's says something else.
    """
    path, before = target / DECLARATION_FILE, declaration_of(target)
    after = declaration.model_dump(mode="json")
    if path.exists() and told(before) == told(after):
        return False
    if changed := [name for name, value in told(before).items() if after.get(name) != value]:
        raise LgbenchError(
            f"{str(path)!r} says another {' and '.join(changed)} already. If that is not merged yet, edit the file or "
            "delete it; otherwise only a maintainer may correct it."
        )
    write_record(staged, declaration)
    return True


def _stage(
    folders: Sequence[Path], target: Path, staging: Path, addresses: Addresses
) -> tuple[list[FileProblem], dict[str, Path], list[Path]]:
    """Copy runs to `staging`.

    Returns:
        The problems, the source of each new run by its name, and the runs that `target` has with the same content.
    """
    problems: list[FileProblem] = []
    sources: dict[str, Path] = {}
    there: list[Path] = []
    for folder in folders:
        try:
            run = _run_name(read_record(folder / RESULT_FILE, Result))
            before = _submitted(target / run) if run not in sources and (target / run).is_dir() else {}
            content = _content(folder, _replies_as_before(addresses.of(run), target / run, before))
        except InvalidFileError as error:
            problems += [FileProblem(error.path, problem) for problem in error.problems]
            continue
        if before and before.items() >= content.items():
            there.append(target / run)
            continue
        is_extended = bool(before) and before.items() < content.items()
        if not is_extended and (staging / run).exists():
            other = str(sources.get(run, target / run))
            same = f"{str(folder)!r} is another run of the same arm, group and seed as {other!r}."
            raise LgbenchError(f"Nothing was submitted. {same}")
        (staging / run).mkdir(exist_ok=is_extended)
        sources[run] = folder
        for file in content.keys() - before.keys():
            write_atomically(staging / run / file, content[file])
    return problems, sources, there


def _replies_as_before(addresses: Addresses, run: Path, before: Container[str]) -> Addresses:
    """The addresses of a run's files. Replies that were submitted already stay where they are.

    Raises:
        InvalidFileError: The run's record of its replies is invalid.
    """
    if OFFSITE_FILE in before:
        return addresses._replace(replies=read_record(run / OFFSITE_FILE, OffsiteReplies).url)
    return addresses._replace(replies=None) if REPLIES_FILE in before else addresses


def _copies(sources: Mapping[str, Path], target: Path) -> Iterator[FileProblem]:
    """The new runs whose replies are those of another system in the folder."""
    systems: dict[str, dict[str, Trace]] = {}
    for path in sorted(target.parent.glob(f"*/*/{RESULT_FILE}")):
        if not path.is_relative_to(target):
            with suppress(InvalidFileError):  # `lgbench validate` reports it
                systems.setdefault(path.parts[-3], {})[path.parts[-2]] = trace(read_record(path, Result))
    systems[target.name] = {run: trace(read_record(folder / RESULT_FILE, Result)) for run, folder in sources.items()}
    for system, run, problem in copied(systems):
        if system == target.name:
            yield FileProblem(sources[run] / RESULT_FILE, problem)


def _content(folder: Path, addresses: Addresses) -> dict[str, bytes]:
    """The files of a run to submit, as far as they exist. `check` reports missing ones.

    Args:
        folder: The run's.
        addresses: Where its weights are, and its replies. What is at the latter is put into the store of fetched
            replies, as it can be checked before it is uploaded.

    Raises:
        InvalidFileError: One cannot be read, or is too large.
        LgbenchError: The weights are offered, but are not beside the result; or an address is none.
    """
    content = _submitted(folder, (RESULT_FILE, REPLIES_FILE))
    if record_beside(folder) is not None:
        content[RECORD] = read_capped(folder.parent / RECORD, MAX_RECORD_BYTES)
    if addresses.weights is not None:
        sha256 = weights_sha256(str(folder.parent))
        content[WEIGHTS_FILE] = _located_at(addresses.weights, partial(WeightsRecord, sha256=sha256), "--weights")
    if addresses.replies is not None and (packed := content.pop(REPLIES_FILE, None)) is not None:
        sha256 = hashlib.sha256(packed).hexdigest()
        record = partial(OffsiteReplies, sha256=sha256, bytes=len(packed))
        content[OFFSITE_FILE] = _located_at(addresses.replies, record, "--replies")
        with write_errors(stored_at(sha256)):
            stored_at(sha256).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(stored_at(sha256), packed)
    return content


def _located_at(url: str, record: Callable[..., BaseModel], option: str) -> bytes:
    """The content of a record of an address that an option gave.

    Raises:
        LgbenchError: It is no address.
    """
    try:
        return record(url=url).model_dump_json(indent=1).encode() + b"\n"
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise LgbenchError(f"{option}: {url!r:.320} is no address: {reason}.") from None


def _submitted(folder: Path, files: Iterable[str] = _CAPS) -> dict[str, bytes]:
    """The files of a submitted run that a folder has."""
    return {file: read_capped(folder / file, _CAPS[file]) for file in files if (folder / file).exists()}


def _run_name(result: Result) -> str:
    """A name for the folder of a run, for readers only. Nothing parses it."""
    parts = (result.suite, result.group, result.arm, None if result.seed is None else f"seed{result.seed}")
    # A result from elsewhere may name a group "../..".
    return re.sub("[^A-Za-z0-9_]", "-", "-".join(part for part in parts if part))


def _shown(path: Path, staging: Path, target: Path, sources: Mapping[str, Path]) -> Path:
    """A path in `staging` as the user knows it."""
    inside = path.relative_to(staging)
    if inside.parts and inside.parts[0] in sources:
        return sources[inside.parts[0]].joinpath(*inside.parts[1:])
    return target / inside


def _write_system(staged: Path, path: Path, given: Mapping[str, Any]) -> bool:
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
    }
    if path.exists():
        record = _read_object(path) if given else {}
    if said := [field for field, value in given.items() if record.get(field) not in ("", [], None, value)]:
        raise LgbenchError(f"{str(path)!r} says {', '.join(said)} already: change it there, and leave the option out.")
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
