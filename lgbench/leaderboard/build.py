"""The files of the leaderboard: derived, written, and compared with those that are committed.

README.md                             the systems of each suite, ranked
systems/NAME.md                       a page for each system
systems/NAME/SUITE-GROUP.svg          the pictures on that page
systems/NAME/SUITE-GROUP-small.svg    the small ones on the front page
board.json, board.schema.json         the same as data, and its JSON Schema
cells.csv                             every count
"""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from lgbench.leaderboard.board import front_page
from lgbench.leaderboard.cells import COLUMNS, cells_csv
from lgbench.leaderboard.content import board_record
from lgbench.leaderboard.markdown import GENERATED
from lgbench.leaderboard.matrix import small_pictures
from lgbench.leaderboard.pages import system_page
from lgbench.leaderboard.pictures import SMALL_END, system_pictures
from lgbench.leaderboard.record import schema_text
from lgbench.leaderboard.scored import SuiteScores, score_submission
from lgbench.leaderboard.svg import OPENING, SMALL_OPENING
from lgbench.submissions.checked import Submission
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.errors import LgbenchError
from lgbench.util.files import is_unfinished, remove_leftovers, write_atomically, write_errors
from lgbench.util.links import contents, is_file, is_folder, refuse_links

FRONT_PAGE = "README.md"
BOARD_FILE = "board.json"
SCHEMA_FILE = "board.schema.json"
CELLS_FILE = "cells.csv"
SYSTEMS = "systems"
_MARKS = {
    BOARD_FILE: '{\n "format": "lgbench-board"',
    SCHEMA_FILE: '{\n "$defs": {\n  "ArmRecord"',
    CELLS_FILE: ",".join(COLUMNS[:3]),
}
# A committed file may be longer than twice the derived one by as much, and is still compared line by line. What is
# longer costs minutes and is no edit.
_MORE_BYTES, _MORE_LINES = 10_000, 100


def derive_files(submissions: Sequence[Submission], report: CountReport = no_report) -> dict[str, str]:
    """Every file of the leaderboard by its path in it. The same submissions give the same text.

    Args:
        submissions: The systems.
        report: Takes how many of them are scored, and of how many.
    """
    submissions = sorted(submissions, key=lambda submission: submission.system.name)
    scores = [score_submission(submission) for submission in counted(submissions, report)]
    flat = [each for of_system in scores for each in of_system]
    files = {FRONT_PAGE: front_page(flat)} | data_files(submissions, flat)
    shown = small_pictures(files[FRONT_PAGE])
    for submission, of_system in zip(submissions, scores, strict=True):
        files[f"{SYSTEMS}/{submission.system.name}.md"] = system_page(submission, of_system)
        for picture in (each for scores in of_system for each in system_pictures(scores)):
            files[f"{SYSTEMS}/{picture.path}"] = picture.svg()
            files |= {small.path: small.svg() for small in picture.small if small.path in shown}
    return files


def data_files(submissions: Sequence[Submission], scores: Sequence[SuiteScores]) -> dict[str, str]:
    """The board as data: its files by their names.

    Args:
        submissions: The systems, by name.
        scores: Of every system on every suite.
    """
    return {
        BOARD_FILE: board_record(submissions, scores).model_dump_json(indent=1) + "\n",
        SCHEMA_FILE: schema_text(),
        CELLS_FILE: cells_csv(submissions),
    }


def write_files(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Make the files in a folder exactly these; give back the paths that were written or removed.

    Raises:
        LgbenchError: The folder, or anything in it, is a link, a pipe or a device; it holds something that is no part
            of a leaderboard; or it cannot be written to.
    """
    refuse_links(folder)
    found = _files(folder)
    refuse_links(folder, [*found, *files])
    stale = sorted(found.keys() - files.keys())
    # By name first: nothing of a folder that is no leaderboard is read.
    strange = [path for path in stale if not _is_named_so(path)]
    present = {} if strange else {path: _content(file, _most(files.get(path, ""))) for path, file in found.items()}
    if strange := strange or [path for path in sorted(present) if not present[path].startswith(_mark(path))]:
        raise LgbenchError(
            f"{str(folder / strange[0])!r} is no part of a leaderboard. Move it, or choose another folder."
        )
    for each in (folder, folder / SYSTEMS, *(folder / SYSTEMS).glob("*/")):
        if is_folder(each):  # what is left under a temporary name may be a link
            remove_leftovers(each)
    changed = [path for path, text in files.items() if present.get(path) != text.encode()]
    for path in changed:
        with write_errors(folder / path):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / path, files[path].encode())
    for path in stale:
        with write_errors(folder / path):
            (folder / path).unlink()
        with contextlib.suppress(OSError):  # only an empty folder can be removed
            (folder / path).parent.rmdir()
    return [folder / path for path in sorted([*changed, *stale])]


def _mark(path: str) -> bytes:
    """How every file begins that `leaderboard build` wrote at a path. What begins otherwise is someone's own."""
    if path.endswith(".svg"):
        return (SMALL_OPENING if path.endswith(SMALL_END) else OPENING).encode()
    return _MARKS.get(path, GENERATED).encode()


def _is_named_so(path: str) -> bool:
    """Whether a page or a picture of a system could be called that."""
    first, *others = PurePosixPath(path).parts
    return first == SYSTEMS and PurePosixPath(path).suffix == {1: ".md", 2: ".svg"}.get(len(others))


def differences(files: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The lines of the unified differences between the files in a folder and these; none where they are the same."""
    if folder.exists() and not is_folder(folder):
        yield f"{folder}: is not a folder"
        return
    present = _files(folder)
    for path, left in contents(folder).items():
        if is_unfinished(left.name):
            yield f"{folder / path}: is left of a process that was killed as it wrote, or is being written"
    for path in sorted({*files, *present}):
        if (derived := files.get(path)) is None:
            yield f"{folder / path}: no submission gives this file"
        elif path not in present:
            yield f"{folder / path}: missing"
        elif not is_file(present[path]):
            yield f"{folder / path}: is not a regular file"
        else:
            yield from _difference(folder / path, derived)


def _difference(path: Path, derived: str) -> Iterator[str]:
    committed = _content(path, _most(derived))
    if committed == derived.encode():
        return
    # At line feeds alone: `splitlines` takes other characters for ends of lines, and drops which it was.
    lines, of_derived = committed.decode(errors="backslashreplace").split("\n"), derived.split("\n")
    if len(committed) > _most(derived) or len(lines) > 2 * len(of_derived) + _MORE_LINES:
        yield f"{path}: is far longer than what the submissions give ({len(derived.encode()):,} bytes)"
    else:
        yield from difflib.unified_diff(lines, of_derived, f"{path}", "derived from the submissions", lineterm="")


def _files(folder: Path) -> dict[str, Path]:
    """Every file in a folder, by its path in it, but those that a process is writing, or left when it was killed.

    A link is listed, whether to a file or to a folder, and not followed.
    """
    return {
        name: path
        for name, path in contents(folder).items()
        if not is_folder(path) and not any(map(is_unfinished, PurePosixPath(name).parts))
    }


def _most(derived: str) -> int:
    """How many bytes of a file are worth reading to compare it with a text."""
    return 2 * len(derived.encode()) + _MORE_BYTES


def _content(path: Path, most: int) -> bytes:
    """The content of a regular file, up to one byte more than `most`."""
    with path.open("rb") as file:
        return file.read(most + 1)
