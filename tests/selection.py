"""Which tests run: a marker for each extra that a test needs, and shards for jobs that share the work."""

from __future__ import annotations

import inspect
import re
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lgbench.util.extras import EXTRAS

NIGHTLY = "nightly"
NOT_FAST = frozenset({"slow", "peers", NIGHTLY, *EXTRAS} - {"export"})
"""The markers of tests that `--fast` leaves out."""
_SKIPS = r"pytest\.importorskip\([\"'](\w+)"
_OF_A_MODULE = re.compile(rf"^(?:\w+ = )?{_SKIPS}", re.MULTILINE)
_OF_A_TEST = re.compile(_SKIPS)


def markers_of(text: str, *, module: bool) -> set[str]:
    """The extras whose packages a source asks for by `pytest.importorskip`, a module's outside its functions only."""
    needed = set((_OF_A_MODULE if module else _OF_A_TEST).findall(text))
    extras: dict[str, str] = {}
    for extra, packages in EXTRAS.items():
        for package in packages:
            extras.setdefault(package, extra)
    return {extras[package] for package in needed if package in extras}


def night(cases: Iterable[Any]) -> list[Any]:
    """Cases of a parametrized test that run with `--nightly` only. A case of several arguments is a list."""
    return [pytest.param(*(each if isinstance(each, list) else [each]), marks=pytest.mark.nightly) for each in cases]


def is_left_out(path: Path) -> bool:
    """Whether `--fast` leaves out a whole file, which then need not be imported."""
    return path.name.startswith("test_") and bool(markers_of(path.read_text("utf-8"), module=True) & NOT_FAST)


def mark(items: Sequence[pytest.Item]) -> None:
    """Give each test the markers of the extras that it needs."""
    of_modules: dict[Path, set[str]] = {}
    for item in items:
        if not isinstance(item, pytest.Function):
            continue
        if item.path not in of_modules:
            of_modules[item.path] = markers_of(item.path.read_text("utf-8"), module=True)
        own = markers_of(inspect.getsource(item.function), module=False)
        for name in sorted(of_modules[item.path] | own):
            item.add_marker(name)


def slow_first(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The files with a test that `--fast` leaves out come first: the last to end is then a short one."""
    slow = {item.path for item in items if any(marker.name in NOT_FAST for marker in item.iter_markers())}
    return sorted(items, key=lambda item: item.path not in slow)


def shard_of(path: Path, root: Path, count: int) -> int:
    """Which of the shards 1 to `count` a file belongs to; the same everywhere."""
    return zlib.crc32(path.relative_to(root).as_posix().encode()) % count + 1


def parse_shard(text: str) -> tuple[int, int]:
    """Number and count of a shard such as `2/3`.

    Raises:
        pytest.UsageError: It does not read so.
    """
    match = re.fullmatch(r"([1-9]\d?)/([1-9]\d?)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise pytest.UsageError(f"--shard {text!r} does not read as NUMBER/COUNT, such as 2/3.")
    return int(match[1]), int(match[2])
