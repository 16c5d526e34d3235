"""Derives the files of the leaderboard, writes them, and compares them with the committed ones.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, zip_longest
from pathlib import Path, PurePosixPath

from lgbench.data.suites import SUITES
from lgbench.leaderboard.board import front_page
from lgbench.leaderboard.cells import COLUMNS, HEADING
from lgbench.leaderboard.content import board_json
from lgbench.leaderboard.derive import derive_part
from lgbench.leaderboard.markdown import GENERATED
from lgbench.leaderboard.matrix import small_pictures
from lgbench.leaderboard.order import open_places, sections
from lgbench.leaderboard.parts import (
    Listing,
    OpenEntry,
    Part,
    Tables,
    TrainedEntry,
    unpacked_cells,
    unpacked_files,
    unpacked_tables,
)
from lgbench.leaderboard.pictures import SMALL_END
from lgbench.leaderboard.record import schema_text
from lgbench.leaderboard.svg import OPENING, SMALL_OPENING
from lgbench.submissions.checked import Submission
from lgbench.util.errors import LgbenchError
from lgbench.util.files import atomic_writer, is_unfinished, remove_leftovers, write_errors
from lgbench.util.links import contents, is_file, is_folder, refuse_links

FRONT_PAGE = "README.md"
BOARD_FILE = "board.json"
SCHEMA_FILE = "board.schema.json"
CELLS_FILE = "cells.csv"
SYSTEMS = "systems"
_OF_ALL = (FRONT_PAGE, BOARD_FILE, SCHEMA_FILE, CELLS_FILE)
_MARKS = {
    BOARD_FILE: '{\n "format": "lgbench-board"',
    SCHEMA_FILE: '{\n "$defs": {\n  "ArmRecord"',
    CELLS_FILE: ",".join(COLUMNS[:3]),
}
# A committed file may be longer than twice the derived one by as much, and is still compared line by line. What is
# longer costs minutes and is no edit.
_MORE_BYTES, _MORE_LINES = 10_000, 100
_MOST_COMPARED = 1_000_000
"""Characters of a file that is compared line by line. Of a longer one only the first difference is shown."""


class BoardFiles(Mapping[str, str]):
    """Every file of the leaderboard by its path in it. The same parts give the same text.

    No text is kept: each is put together from the parts when needed.

    Args:
        parts: The parts of all systems, in any order.
    """

    def __init__(self, parts: Iterable[Part]) -> None:
        unpacked = sorted(((unpacked_tables(part), part) for part in parts), key=lambda each: each[0].system)
        tables = [of_system for of_system, _ in unpacked]
        self._parts = [part for _, part in unpacked]
        self._infos = [of_system.info for of_system in tables]
        self._listings = list_parts(tables)
        self._front = front_page(self._listings)
        shown = small_pictures(self._front)
        self._own = {
            path: number
            for number, of_system in enumerate(tables)
            for path in of_system.paths
            if path in shown or not path.endswith(SMALL_END)
        }
        self._last: tuple[int, dict[str, str]] = (-1, {})

    def __len__(self) -> int:
        return len(self._own) + len(_OF_ALL)

    def __iter__(self) -> Iterator[str]:
        return chain(_OF_ALL, self._own)

    def __getitem__(self, path: str) -> str:
        return "".join(self.pieces(path))

    def pieces(self, path: str) -> Iterator[str]:
        """The text of a file, in pieces, as two of the files are far larger than the parts.

        Raises:
            KeyError: The leaderboard has no such file.
        """
        if path == FRONT_PAGE:
            yield self._front
        elif path == BOARD_FILE:
            yield from board_json(self._infos, self._listings)
        elif path == SCHEMA_FILE:
            yield schema_text()
        elif path == CELLS_FILE:
            yield HEADING
            yield from (unpacked_cells(part).decode() for part in self._parts)
        else:
            number = self._own[path]
            if self._last[0] != number:  # the files of a system are asked for one after another
                self._last = number, unpacked_files(self._parts[number])
            yield self._last[1][path]


def list_parts(tables: Sequence[Tables]) -> list[Listing]:
    """The systems of every suite with systems, in the order of the board."""
    listings = []
    for suite in SUITES:
        trained = [TrainedEntry(part) for each in tables for part in each.trained if part.suite == suite.name]
        opened = [part for each in tables for part in each.opened if part.suite == suite.name]
        in_order = open_places([(part.score, part.system) for part in opened])
        if trained or opened:
            entries = tuple(OpenEntry(opened[number], place) for number, place in in_order)
            listings.append(Listing(suite.name, tuple(sections(trained)), entries))
    return listings


def derive_files(submissions: Iterable[Submission]) -> BoardFiles:
    """Every file of the leaderboard. The same submissions give the same text."""
    return BoardFiles(map(derive_part, submissions))


def write_files(files: Mapping[str, str], folder: Path) -> list[Path]:
    """Make a folder hold exactly these files, and return the paths that were written or removed.

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
    same: set[str] = set() if strange else {path for path in files if path in found and _is_same(files, path, folder)}
    if strange := strange or [path for path in sorted(found.keys() - same) if not _is_marked(path, found[path])]:
        raise LgbenchError(
            f"{str(folder / strange[0])!r} is not a part of a leaderboard. Move it, or choose another folder."
        )
    for each in (folder, folder / SYSTEMS, *(folder / SYSTEMS).glob("*/")):
        if is_folder(each):  # what is left under a temporary name may be a link
            remove_leftovers(each)
    changed = [path for path in files if path not in same]
    for path in changed:
        with write_errors(folder / path):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with atomic_writer(folder / path) as file:
                file.writelines(_pieces(files, path))
    for path in stale:
        with write_errors(folder / path):
            (folder / path).unlink()
        with contextlib.suppress(OSError):  # only an empty folder can be removed
            (folder / path).parent.rmdir()
    return [folder / path for path in sorted([*changed, *stale])]


def _is_marked(path: str, file: Path) -> bool:
    """Whether a file begins like the one that `leaderboard build` writes at a path. Any other is the user's own."""
    opening = SMALL_OPENING if path.endswith(SMALL_END) else OPENING
    mark = (opening if path.endswith(".svg") else _MARKS.get(path, GENERATED)).encode()
    return _content(file, len(mark)).startswith(mark)


def _is_named_so(path: str) -> bool:
    """Whether a path could be that of a system's page or picture."""
    first, *others = PurePosixPath(path).parts
    return first == SYSTEMS and PurePosixPath(path).suffix == {1: ".md", 2: ".svg"}.get(len(others))


def differences(files: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The lines of the unified differences between the files in a folder and these; none if they are the same."""
    if folder.exists() and not is_folder(folder):
        yield f"{folder}: is not a folder"
        return
    present = _files(folder)
    for path, left in contents(folder).items():
        if is_unfinished(left.name):
            yield f"{folder / path}: is left of a process that was killed as it wrote, or is being written"
    for path in sorted({*files, *present}):
        if path not in files:
            yield f"{folder / path}: no submission gives this file"
        elif path not in present:
            yield f"{folder / path}: missing"
        elif not is_file(present[path]):
            yield f"{folder / path}: is not a regular file"
        elif not _is_same(files, path, folder):
            yield from _difference(folder / path, files[path])


def _difference(path: Path, derived: str) -> Iterator[str]:
    """The lines of the difference between a file and its derived content."""
    committed = _content(path, _most(derived))
    # At line feeds alone: `splitlines` takes other characters for ends of lines, and drops which it was.
    lines, of_derived = committed.decode(errors="backslashreplace").split("\n"), derived.split("\n")
    if len(committed) > _most(derived) or len(lines) > 2 * len(of_derived) + _MORE_LINES:
        yield f"{path}: is far longer than what the submissions give ({len(derived.encode()):,} bytes)"
    elif lines == of_derived:
        yield f"{path}: holds bytes that are no UTF-8"
    elif len(derived) > _MOST_COMPARED:
        pairs = enumerate(zip_longest(lines, of_derived, fillvalue=""), start=1)
        number, (line, of_line) = next((number, pair) for number, pair in pairs if pair[0] != pair[1])
        yield from (f"{path}: differs from line {number:,} on", f"-{line}", f"+{of_line}")
    else:
        yield from difflib.unified_diff(lines, of_derived, f"{path}", "derived from the submissions", lineterm="")


def _files(folder: Path) -> dict[str, Path]:
    """Every file in a folder, by its path in it, except those that a process is writing, or left when it was killed.

    A link is listed, whether to a file or to a folder, and not followed.
    """
    return {
        name: path
        for name, path in contents(folder).items()
        if not is_folder(path) and not any(map(is_unfinished, PurePosixPath(name).parts))
    }


def _pieces(files: Mapping[str, str], path: str) -> Iterator[bytes]:
    texts = files.pieces(path) if isinstance(files, BoardFiles) else [files[path]]
    return (text.encode() for text in texts)


def _is_same(files: Mapping[str, str], path: str, folder: Path) -> bool:
    """Whether a regular file holds what is derived."""
    with (folder / path).open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in _pieces(files, path)) and not file.read(1)


def _most(derived: str) -> int:
    """The number of bytes to read of a file to compare it with a text."""
    return 2 * len(derived.encode()) + _MORE_BYTES


def _content(path: Path, most: int) -> bytes:
    """The content of a regular file, up to one byte more than `most`."""
    with path.open("rb") as file:
        return file.read(most + 1)
