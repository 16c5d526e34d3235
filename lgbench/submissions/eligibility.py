"""Reasons why a result cannot be submitted even if its counts are right."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from lgbench.data.suites import Cell, load_suite, opened_suites
from lgbench.models.builtin import BUILTINS
from lgbench.results.schema import OWN_KINDS, Result, SystemInfo
from lgbench.scoring.measures import expected_cells
from lgbench.util.errors import LgbenchError
from lgbench.util.records import Problem

_HASHED = frozenset({"checkpoint", "replay", "hf"})
"""Kinds of models whose result always holds the hash of a file."""


def ineligible(result: Result) -> Iterator[Problem]:
    """Why a result cannot be submitted, regardless of its counts. Re-scoring reports an unknown suite."""
    if result.draft is not None or any(suite.name == result.suite for suite in opened_suites()):
        yield Problem("suite", f"is {result.suite!r}, a draft suite: only results of published suites are accepted.")
        return
    if result.limit is not None:
        yield Problem("limit", f"is {result.limit}: only results over every example of a cell are accepted.")
    if _is_own(result.system):
        yield Problem(
            "system.model", "is a built-in or bundled model, which only serves to try lgbench, and cannot be submitted."
        )
    elif result.system.kind in _HASHED and not result.system.source_sha256:
        yield Problem("system.source_sha256", f"is empty: a model of kind {result.system.kind!r} has a hash.")
    if len(result.system.source_sha256) > 1:
        yield Problem(
            "system.source_sha256", "names several hashes: the model's file changed in the middle of the run."
        )
    yield from _wrong_cells(result)


def _is_own(system: SystemInfo) -> bool:
    """Whether a model is a built-in, under any name, or a bundled checkpoint."""
    model = system.model
    if system.kind not in OWN_KINDS:  # a scheme of an installed package may load any of them
        model = model.removeprefix(f"{system.kind}:")
        if model in BUILTINS or model.startswith("tiny:"):
            return True
    if system.kind in ("module", "object") or system.kind not in OWN_KINDS:
        return model.replace(":", ".").startswith("lgbench.models.builtin.")  # `lgbench.models:builtin.Oracle` too
    return system.kind == "builtin" or (system.kind == "checkpoint" and system.model.startswith("tiny:"))


def _wrong_cells(result: Result) -> Iterator[Problem]:
    try:
        of_suite = set(load_suite(result.suite, result.draft).cells())
    except LgbenchError:
        return
    try:
        expected = expected_cells(result)
    except LgbenchError as error:
        yield Problem("group", str(error))
        return
    given = [Cell(cell.task, cell.length) for cell in result.cells]
    for number, cell in enumerate(given):
        if cell in of_suite and cell not in expected:
            yield Problem(f"cells[{number}]", f"{cell} is no cell of {experiment(result)}.")
    there = set(given)
    if missing := [cell for cell in expected if cell not in there]:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        named = ", ".join(map(str, missing[:3])) + more
        yield Problem("cells", f"is partial, so it has no score: {named} of {len(expected)} cells are missing.")


class _Experiment(Protocol):
    @property
    def suite(self) -> str: ...

    @property
    def arm(self) -> str: ...

    @property
    def group(self) -> str | None: ...


def experiment(result: _Experiment) -> str:
    """The arm, group and suite of a result, as a phrase."""
    of_group = f" of group {result.group!r}" if result.group else ""
    return f"arm {result.arm!r}{of_group} on {result.suite}"
