"""Draft suites: suites of a user's own, opened from a file, a module or an entry point.

A draft suite works in every command that takes a suite, is marked as a draft wherever its results are shown, and cannot
be submitted. Only what a user names is run, never what a record names.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from lgbench.data.draft_checks import check_definition
from lgbench.data.suites import SUITES, DraftSource, Suite, is_published, keep_opened, opened_suites
from lgbench.data.task_checks import check_behaviour, guarded
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.users_code import check_file, find, import_named, run_file, split_place, user_code

ENTRY_POINTS = "lgbench.suites"


@dataclass(frozen=True, kw_only=True)
class DraftSuite(Suite):
    """A draft suite that was opened. In another process it opens itself again.

    Attributes:
        place: Its reference, with the whole path of its file; None for a suite that a Python program made.
    """

    place: str | None = None

    def __reduce__(self) -> tuple[Callable[..., Suite], tuple[Any, ...]]:
        if self.place is not None:
            return _open_again, (self.place, self.draft)
        parts = (self.name, self.groups, self.examples_per_cell, self.own_tasks)
        try:
            pickle.dumps(parts)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise LgbenchError(
                f"The suite {self.name!r}, which a Python program made, cannot be sent to another process: {error}. "
                "Put it into a file and open it with lgbench.open_suite('file.py:attribute')."
            ) from None
        return _make_again, parts


def open_suite(reference: str | Suite) -> Suite:
    """The suite that a user names. `load_suite` finds it from then on in this process.

    The first of these that fits:

    1. the name of a published suite, or of a draft suite that is open already;
    2. `file.py:attribute` or `package.module:attribute`, whose code is run, and whose suite is checked;
    3. an entry point of the group `lgbench.suites`, likewise;
    4. from Python, a `Suite`, which is checked too.

    Args:
        reference: What the user named.

    Raises:
        LgbenchError: Nothing fits, or the suite is not sound; the sentence says what to change.
        ModelError: The user's code raised.
    """
    if isinstance(reference, Suite):
        return _opened(reference, DraftSource(None, None), place=None)
    for suite in (*SUITES, *opened_suites()):
        if suite.name == reference:
            return suite
    place, attribute = split_place(reference)
    if place.endswith(".py"):
        path = Path(place)
        check_file(path, f"The suite {reference!r} reads as file.py:attribute.")
        source = DraftSource(reference, _sha256(path))
        for suite in opened_suites():
            if suite.draft == source:
                return suite
        found = _attribute(run_file(path), attribute, reference)
        return _opened(found, source, place=f"{path.absolute()}:{attribute}")
    if attribute:
        unknown = LgbenchError(f"The suite {reference!r}: there is no module {place!r} that can be imported here.")
        module = import_named(place, unknown)
        return _opened(_attribute(module, attribute, reference), _module_source(module, reference), place=reference)
    points = {point.name: point for point in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    if reference not in points:
        forms = ("file.py:attribute", "package.module:attribute")
        raise UnknownNameError("suite", reference, [*(suite.name for suite in SUITES), *points, *forms])
    with user_code(f"Loading the entry point {reference!r} ({points[reference].value})"):
        found = points[reference].load()
    return _opened(found, DraftSource(reference, None), place=reference)


def _attribute(module: ModuleType, attribute: str, reference: str) -> object:
    found = find(module, attribute) if attribute else None
    if found is None:
        suites = [name for name, value in vars(module).items() if isinstance(value, Suite)]
        problem = f"has no attribute {attribute!r}" if attribute else "needs an attribute, as in my_task.py:suite"
        raise LgbenchError(f"The suite {reference!r} {problem}. Suites there: {', '.join(suites) or 'none'}.")
    return found


def _opened(found: object, source: DraftSource, *, place: str | None) -> Suite:
    """The draft suite, once it is checked."""
    if not isinstance(found, Suite):
        raise LgbenchError(f"{source.reference!r} is of type {type(found).__name__}. It must be an lgbench.Suite.")
    if is_published(found) or isinstance(found, DraftSuite):
        return found
    suite = _draft(found, source, place=place)
    check_behaviour(suite)
    keep_opened(suite)
    return suite


def _draft(found: Suite, source: DraftSource, *, place: str | None) -> DraftSuite:
    check_definition(found)
    return DraftSuite(
        name=found.name,
        groups=found.groups,
        examples_per_cell=found.examples_per_cell,
        own_tasks=tuple(map(guarded, found.own_tasks)),
        draft=source,
        place=place,
    )


def _open_again(place: str, source: DraftSource) -> Suite:
    """The draft suite that the parent of this process opened and checked.

    Raises:
        LgbenchError: Its file is gone or has changed since.
    """
    for suite in opened_suites():
        if suite.draft == source:
            return suite
    path, attribute = split_place(place)
    if path.endswith(".py"):
        check_file(Path(path), f"The draft suite {source.reference} was opened from it.")
        if _sha256(Path(path)) != source.sha256:
            raise LgbenchError(f"The file of the draft suite {source.reference} has changed since. Start again.")
        found = _attribute(run_file(Path(path)), attribute, place)
        suite = _draft(_as_suite(found, place), source, place=place)
        keep_opened(suite)
        return suite
    return open_suite(place)


def _make_again(name: str, groups: Any, examples_per_cell: int, own_tasks: Any) -> Suite:
    """The draft suite that the Python program of the parent process made."""
    suite = DraftSuite(
        name=name,
        groups=groups,
        examples_per_cell=examples_per_cell,
        own_tasks=own_tasks,
        draft=DraftSource(None, None),
    )
    keep_opened(suite)
    return suite


def _as_suite(found: object, place: str) -> Suite:
    if not isinstance(found, Suite):
        raise LgbenchError(f"{place!r} is of type {type(found).__name__}. It must be an lgbench.Suite.")
    return found


def _module_source(module: ModuleType, reference: str) -> DraftSource:
    file = getattr(module, "__file__", None)
    return DraftSource(reference, _sha256(Path(file)) if file and Path(file).is_file() else None)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
