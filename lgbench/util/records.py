"""Reading JSON records that anyone may have written, with every problem told by its field."""

from __future__ import annotations

import contextlib
import json
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from lgbench.util.errors import LgbenchError
from lgbench.util.files import write_atomically
from lgbench.util.text import LONGEST_PATH, plain
from lgbench.version import __version__

MAX_RECORD_BYTES = 1_000_000
# A hostile file can hold hundreds of thousands of them.
MAX_PROBLEMS = 100
_MOST_TOLD_APART = 10_000  # pydantic tells all or none: of a hostile file's 400,000, in ten seconds
_BYTES_A_VALUE = 40  # of a file at its cap. Ours take more, and a list of a million `{}` would cost a gigabyte
_BYTES_A_LIST = 80  # or an object: pydantic copies all of a hostile record for each field that it lacks
_VERSIONS = ("schema_version", "format")
"""Fields that say what a file is. They have defaults for those who make a record, never for a file."""
_Record = TypeVar("_Record", bound=BaseModel)


class Problem(NamedTuple):
    """What is wrong with a file, and in which field; an empty field means the file as a whole."""

    field: str
    message: str

    def __str__(self) -> str:
        return plain(f"{self.field}: {self.message}" if self.field else self.message)


class InvalidFileError(LgbenchError):
    """A file that does not hold what it should, with all its problems."""

    def __init__(self, path: Path, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(f"{plain(path, limit=LONGEST_PATH)}: {problem}" for problem in problems))
        self.path = path
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.problems)


def read_record(path: Path, kind: type[_Record], *, max_bytes: int = MAX_RECORD_BYTES) -> _Record:
    """Read a JSON file into a record of this kind.

    Raises:
        InvalidFileError: The file is missing, too large, no strict JSON, or does not fit; with the first hundred
            problems, and how many more there are.
    """
    text = read_capped(path, max_bytes)
    if text.count(b",") > (most := max_bytes // _BYTES_A_VALUE):
        raise InvalidFileError(path, [Problem("", f"holds more than {most:,} values: no such record has so many.")])
    if text.count(b"[") + text.count(b"{") > (most := max_bytes // _BYTES_A_LIST):
        raise InvalidFileError(
            path, [Problem("", f"holds more than {most:,} lists and objects: no such record has so many.")]
        )
    try:
        parsed = parse_json(text)
    except ValueError as error:
        raise InvalidFileError(path, [Problem("", f"is not valid JSON: {error}.")]) from None
    if (newer := _newer(parsed, kind)) is not None:  # what else differs from this version says nothing
        raise InvalidFileError(path, [newer])
    try:
        record = kind.model_validate_json(text, strict=True)
    except ValidationError as error:
        count = error.error_count()
        if count > _MOST_TOLD_APART:
            raise InvalidFileError(path, [Problem("", f"has {count:,} problems.")]) from None
        details = [detail for detail in error.errors(include_url=False) if not _follows(detail)]
        count = len(details)
        problems = [_problem(detail) for detail in details[:MAX_PROBLEMS]]
        if more := count - len(problems):
            problems.append(Problem("", f"and {more:,} more."))
        raise InvalidFileError(path, problems) from None
    required = [name for name in _VERSIONS if name in kind.model_fields]
    if missing := [Problem(name, "Field required") for name in required if name not in record.model_fields_set]:
        raise InvalidFileError(path, missing)
    return record


def _newer(parsed: Any, kind: type[BaseModel]) -> Problem | None:
    """That a file is of a later version of its format than this lgbench knows; None where it is not."""
    given = parsed.get("schema_version") if isinstance(parsed, dict) else None
    known = kind.model_fields["schema_version"].default if "schema_version" in kind.model_fields else None
    if known is None or type(given) is not int or given <= known:
        return None
    return Problem(
        "schema_version",
        f"is {given}, and this lgbench ({__version__}) reads version {known}. A newer lgbench wrote the file: upgrade.",
    )


def write_record(path: Path, record: BaseModel) -> None:
    """Write a record as `read_record` reads it, whole or not at all.

    Raises:
        OSError: It could not be written; what stood at `path` is untouched.
    """
    write_atomically(path, record.model_dump_json(indent=1).encode() + b"\n")


def json_line(*values: str) -> bytes:
    """The line of a JSON array of texts. Published hashes are of such lines: not one byte of them may change."""
    return json.dumps(values, ensure_ascii=True, separators=(",", ":")).encode("ascii") + b"\n"


def _follows(detail: Any) -> bool:
    """Whether a list is only called too short because pydantic does not count items that have problems of their own."""
    return bool(detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"])


def _problem(detail: Any) -> Problem:
    field = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in detail["loc"]).lstrip(".")
    given = json.dumps(detail["input"], default=str)
    shown = "" if detail["type"] in ("missing", "value_error") or len(given) > 100 else f" (given: {given})"
    return Problem(field, detail["msg"].removeprefix("Value error, ") + shown)


def check_capped(path: Path, max_bytes: int) -> None:
    """Make sure that a path is a regular file of at most `max_bytes` bytes. Links are not followed.

    Raises:
        InvalidFileError: It is missing, a link, no regular file, or too large.
    """
    with read_errors(path):
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise InvalidFileError(path, [Problem("", "is not a regular file.")])
        if status.st_size > max_bytes:
            sizes = f"{status.st_size:,} bytes; at most {max_bytes:,} are allowed"
            raise InvalidFileError(path, [Problem("", f"is too large: {sizes}.")])


def read_capped(path: Path, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes` bytes. Links are not followed.

    Raises:
        InvalidFileError: It is missing, a link, no regular file, too large, or unreadable.
    """
    check_capped(path, max_bytes)
    with read_errors(path):
        return path.read_bytes()


@contextlib.contextmanager
def read_errors(path: Path) -> Iterator[None]:
    """Report an OSError of the block as a problem of the file.

    Raises:
        InvalidFileError: It is missing or unreadable.
    """
    try:
        yield
    except FileNotFoundError:
        raise InvalidFileError(path, [Problem("", "does not exist.")]) from None
    except OSError as error:
        raise InvalidFileError(path, [Problem("", f"cannot be read: {error.strerror or error}.")]) from None


def parse_json(text: str | bytes) -> Any:
    """Read JSON strictly: UTF-8, no repeated keys, no NaN or infinity, no bottomless nesting.

    Raises:
        ValueError: The text is not such JSON; the message says why.
    """
    try:
        # Of bytes, `json.loads` would guess UTF-16 and UTF-32 too.
        decoded = text.decode() if isinstance(text, bytes) else text
        return json.loads(decoded, object_pairs_hook=_unique_keys, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError as error:
        if "int_max_str_digits" in str(error):  # Python's own words are advice to a programmer
            raise ValueError("a number in it has too many digits") from None
        raise


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {next(key for key in counts if counts[key] > 1)!r} is repeated")
    return record


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
