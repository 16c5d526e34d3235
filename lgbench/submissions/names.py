"""Names of files and folders that every system can check out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

_OF_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


def check_portable(name: str) -> str:
    """The name of a file or folder, if Windows can have it.

    Raises:
        ValueError: It cannot; the message says why.
    """
    if name.partition(".")[0].rstrip(" ").lower() in _OF_DEVICES:
        raise ValueError(f"Windows keeps the name {name.partition('.')[0]!r} for a device")
    if name.endswith((".", " ")):
        raise ValueError("Windows drops a dot or a space at the end of a name")
    return name


def twins(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The names that differ from an earlier one in case only, and so are the same on macOS and Windows; with that one.

    Args:
        names: Names in one folder. They are ASCII, so only case can make two of them the same.
    """
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            yield name, other
