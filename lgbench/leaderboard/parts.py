"""What the board needs of one system, derived from that system alone and kept between builds.

A part consists of blocks of packed JSON: what the tables need, the system's files, and its rows of `cells.csv`. A
thousand parts take some 30 MB, and a board is built from them without any result.
"""

from __future__ import annotations

import json
import zlib
from fractions import Fraction
from typing import Annotated, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from lgbench.leaderboard.order import Coverage, Rank, Section
from lgbench.scoring.ranking import Place
from lgbench.submissions.tiers import Tier
from lgbench.training.spec import Division

Row = dict[str, str]
_Exact = Annotated[Fraction, BeforeValidator(lambda value: Fraction(value)), PlainSerializer(str)]
_LEVEL = 1  # of zlib; the fastest makes blocks a third larger than the best


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Score(_Part):
    """A score and how it varies over seeds.

    Attributes:
        value: Exact.
        variance: Of the mean over seeds.
        finite_degrees: Its degrees of freedom; None where they are infinite.
    """

    value: _Exact
    variance: float
    finite_degrees: float | None

    @property
    def degrees(self) -> float:
        """Its degrees of freedom."""
        return float("inf") if self.finite_degrees is None else self.finite_degrees


class TrainedPart(_Part):
    """A trained system on a suite.

    Attributes:
        system: Its name.
        suite: The suite's.
        division: Its division.
        tier: Its tier.
        coverage: Its coverage of the suite.
        covered: The number of groups that it covers.
        has_few_seeds: Whether some group has few transfer seeds.
        score: Its score; None without a covered group.
        main_row: Its row in the main table, without its place.
        more_row: Its row in the table of more figures.
        group_row: Its row in the table of groups.
        arms: The arms in its small pictures.
        record: Its `TrainedRecord`, without its place, as indented JSON.
    """

    system: str
    suite: str
    division: Division
    tier: Tier
    coverage: Coverage
    covered: int
    has_few_seeds: bool
    score: Score | None
    main_row: Row
    more_row: Row
    group_row: Row
    arms: tuple[str, ...]
    record: str


class OpenPart(_Part):
    """A system of arm `open` on a suite.

    Attributes:
        system: Its name.
        suite: The suite's.
        score: The open score, or 0 without one.
        runs: Number of its runs.
        row: Its row in the table, without its place.
        task_row: Its row in the table of tasks.
        record: Its `OpenRecord`, in place 0, as indented JSON.
    """

    system: str
    suite: str
    score: _Exact
    runs: int
    row: Row
    task_row: Row
    record: str


class Tables(_Part):
    """What the tables need of a system.

    Attributes:
        system: Its name.
        info: Its `SystemInfo` as indented JSON.
        trained: Its trained arms, by suite.
        opened: Its runs of arm `open`, by suite.
        paths: The paths of its files.
    """

    system: str
    info: str
    trained: tuple[TrainedPart, ...]
    opened: tuple[OpenPart, ...]
    paths: tuple[str, ...]


class Part(NamedTuple):
    """Everything that the board needs of a system, packed: `Tables`, its files by path, its rows of `cells.csv`."""

    tables: bytes
    files: bytes
    cells: bytes


def pack(tables: Tables, files: dict[str, str], cells: str) -> Part:
    """Pack these into a part."""
    texts = (tables.model_dump_json(), json.dumps(files), cells)
    return Part(*(zlib.compress(text.encode(), _LEVEL) for text in texts))


def unpacked_tables(part: Part) -> Tables:
    """The content of the tables."""
    return Tables.model_validate_json(zlib.decompress(part.tables))


def unpacked_files(part: Part) -> dict[str, str]:
    """The system's files by their paths."""
    files: dict[str, str] = json.loads(zlib.decompress(part.files))
    return files


def unpacked_cells(part: Part) -> bytes:
    """The system's rows of `cells.csv`."""
    return zlib.decompress(part.cells)


class TrainedEntry(NamedTuple):
    """A trained system with its place, or None if it is not ranked."""

    part: TrainedPart
    place: Place | None = None

    @property
    def rank(self) -> Rank:
        """The sort key of the system."""
        part = self.part
        return Rank(part.system, part.division, part.tier, part.coverage, part.covered, part.has_few_seeds, part.score)

    def at(self, place: Place) -> TrainedEntry:
        """The same in a place."""
        return self._replace(place=place)

    @property
    def main_row(self) -> Row:
        """Its row in the main table."""
        return ({} if self.place is None else {"#": str(self.place)}) | self.part.main_row

    @property
    def record(self) -> str:
        """Its `TrainedRecord` as indented JSON."""
        if self.place is None:
            return self.part.record
        first, last = self.place
        return _replaced(self.part.record, {"first_place": (None, first), "last_place": (None, last)})


class OpenEntry(NamedTuple):
    """A system of arm `open` with its place."""

    part: OpenPart
    place: int

    @property
    def row(self) -> Row:
        """Its row in the table."""
        return {"#": str(self.place)} | self.part.row

    @property
    def record(self) -> str:
        """Its `OpenRecord` as indented JSON."""
        return _replaced(self.part.record, {"place": (0, self.place)})


def _replaced(text: str, numbers: dict[str, tuple[int | None, int]]) -> str:
    """The JSON of a record with other numbers in some of its own fields.

    Each of them is on a separate line, indented by one blank. No text in the record contains a line feed.
    """
    for name, (before, after) in numbers.items():
        field = f'\n "{name}": '
        was = f"{field}{json.dumps(before)}"
        if was not in text:
            raise ValueError(f"the record has no field {name!r} that is {before}")
        text = text.replace(was, f"{field}{after}", 1)
    return text


class Listing(NamedTuple):
    """The systems of a suite, as the board lists them.

    Attributes:
        suite: The suite's name.
        sections: The tables of trained systems.
        opened: Those of arm `open`, by score.
    """

    suite: str
    sections: tuple[Section[TrainedEntry], ...]
    opened: tuple[OpenEntry, ...]

    @property
    def trained(self) -> tuple[TrainedEntry, ...]:
        """Every trained system, in the order of the tables."""
        return tuple(entry for section in self.sections for entry in section.entries)
