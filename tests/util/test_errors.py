"""Errors cross from a process that works for another one as they are."""

from __future__ import annotations

import itertools
import pickle
from pathlib import Path

import pytest

from lgbench.data.suites import load_suite
from lgbench.evaluation.finding import NoEvaluationError
from lgbench.util.errors import (
    DamagedRunError,
    DivergedError,
    DraftNotOpenError,
    FolderInUseError,
    FolderTakenError,
    LgbenchError,
    ModelError,
    UnknownNameError,
)
from lgbench.util.processes import ProcessEndedError, drawn_ahead
from lgbench.util.records import InvalidFileError, Problem

ERRORS = [
    LgbenchError("a sentence"),
    FolderTakenError("taken"),
    FolderInUseError("in use"),
    ProcessEndedError("killed"),
    DamagedRunError("damaged"),
    DivergedError("no number"),
    DraftNotOpenError("not open"),
    NoEvaluationError(Path("runs")),
    UnknownNameError("task", "revers", iter(["reverse", "copy"])),
    ModelError("it raised", user_traceback="line 1"),
    InvalidFileError(Path("a.json"), [Problem("x", "is missing"), Problem("", "is odd")]),
]


def test_every_error_of_ours_is_among_them() -> None:
    kinds: list[type[LgbenchError]] = [LgbenchError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert {kind for kind in kinds if kind.__module__.startswith("lgbench.")} <= {type(error) for error in ERRORS}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling(error: LgbenchError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def load_nowhere(number: int) -> object:
    return load_suite(f"nowhere-{number}")


def test_what_a_worker_raises_is_told_as_it_is() -> None:
    with pytest.raises(UnknownNameError, match="'nowhere-0' is not a suite"):
        list(itertools.islice(drawn_ahead(load_nowhere, first=0, workers=1), 1))
