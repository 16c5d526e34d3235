"""Results as Python hands them out: with their replies at hand, as frames, and with curves in a notebook."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from pydantic import PrivateAttr

from lgbench.evaluation.folder import RESULT_FILE
from lgbench.evaluation.rescoring import Rescored, rescore_result
from lgbench.evaluation.stored import SYSTEM_FILE
from lgbench.results.schema import Result as ResultRecord
from lgbench.scoring.frames import Labelled, Rows, result_frame
from lgbench.submissions.system import SystemRecord
from lgbench.util.errors import LgbenchError
from lgbench.util.records import read_record

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from lgbench.data.suites import Cell

_TRAINING_RECORD = "training.json"  # as `lgbench.training.record` has it, which a reader of results need not load


class Result(ResultRecord):
    """A result, and where its replies are: what `evaluate` and `load_results` return.

    Its fields are those of `result.json`, and `lgbench.scoring` takes it as any other result.
    """

    _folder: Path | None = PrivateAttr(default=None)
    _label: str | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, record: ResultRecord, *, folder: Path | None, label: str | None = None) -> Result:
        """A record with the folder of its replies.

        Args:
            record: What was read or evaluated.
            folder: Where `replies.jsonl.gz` is; None where there is none.
            label: The system's name in frames; None for the model's.
        """
        fields = {name: getattr(record, name) for name in ResultRecord.model_fields}
        result = cls.model_construct(record.model_fields_set, **fields)
        result._folder, result._label = folder, label
        return result

    def __eq__(self, other: object) -> bool:
        """Whether both records say the same, wherever they are."""
        return isinstance(other, ResultRecord) and self.model_dump() == other.model_dump()

    __hash__ = None  # type: ignore[assignment]  # a record holds dictionaries

    @property
    def folder(self) -> Path | None:
        """Where its replies are. Without `output` it is a temporary folder, which goes when the result does."""
        return self._folder

    @property
    def label(self) -> str:
        """What frames call its system: a submission's name, the folder of the runs of `reproduce`, or the model."""
        return self._label or self.system.model

    @property
    def correct(self) -> Mapping[Cell, NDArray[np.bool_]]:
        """For each cell, which replies are right, by index: re-scored from the replies the first time.

        Raises:
            LgbenchError: The replies are not at hand, or the counts do not follow from them.
        """
        return self.rescored.correct

    @cached_property
    def rescored(self) -> Rescored:
        """The result with every count recomputed from its replies.

        Raises:
            LgbenchError: The replies are not at hand, or the counts do not follow from them.
        """
        if self._folder is None:
            raise LgbenchError("The replies of this result are not at hand: load its folder with lgbench.load_results.")
        return rescore_result(self, self._folder)[0]

    def to_frame(self, rows: Rows = "cells") -> pd.DataFrame:
        """The result as a pandas frame.

        Args:
            rows: `cells`: a row for each task and length. `zones`: for each task and zone. `runs`: one row.

        Raises:
            LgbenchError: There are no such rows, or its draft suite is not open.
        """
        return result_frame([self.labelled], rows)

    def errors(
        self, *, tasks: str | Sequence[str] = (), lengths: int | Sequence[int] = (), mistakes: str | Sequence[str] = ()
    ) -> pd.DataFrame:
        """The wrong replies as a frame, each with its prompt, its target, and what kind of mistake it is.

        Args:
            tasks: Only of these tasks; empty for all.
            lengths: Only of these lengths; empty for all.
            mistakes: Only of these kinds (docs/results.md); empty for all.

        Raises:
            LgbenchError: A filter names what the result does not hold, no reply is left, or the replies are not at
                hand.
        """
        from lgbench.doctor.errors import Filter, error_frame, wrong_replies_of

        if self._folder is None:
            raise LgbenchError("The replies of this result are not at hand: load its folder with lgbench.load_results.")
        wanted = Filter.of(tasks=tasks, lengths=lengths, mistakes=mistakes)
        return error_frame(wrong_replies_of(self, self._folder, wanted))

    @property
    def given_label(self) -> str | None:
        """The label, unless it is only the model's name."""
        return self._label

    @property
    def labelled(self) -> Labelled:
        """The result with its labels, as frames take it."""
        return Labelled(self, self.label, None if self._folder is None else str(self._folder))

    def _repr_html_(self) -> str:
        from lgbench.python.html import result_html

        return result_html(self)


class Results(Sequence[Result]):
    """Several results, in order. Add two to join them, and index or filter them as any sequence.

    Args:
        results: The results.
    """

    def __init__(self, results: Iterable[Result]) -> None:
        self._results = tuple(results)

    @overload
    def __getitem__(self, index: int) -> Result: ...
    @overload
    def __getitem__(self, index: slice) -> Results: ...
    def __getitem__(self, index: int | slice) -> Result | Results:
        """A result, or some of them."""
        return Results(self._results[index]) if isinstance(index, slice) else self._results[index]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._results)

    def __add__(self, other: Iterable[Result]) -> Results:
        """These results and others."""
        return Results([*self._results, *other])

    def __repr__(self) -> str:
        """In a line."""
        named = {name: dict.fromkeys(map(str, values)) for name, values in self._names().items()}
        parts = [f"{name} {', '.join(values)}" for name, values in named.items() if 0 < len(values) <= 8]
        return f"<{len(self)} result{'' if len(self) == 1 else 's'}{': ' if parts else ''}{'; '.join(parts)}>"

    def _names(self) -> dict[str, list[Any]]:
        return {
            "suite": [each.suite for each in self],
            "group": [each.group for each in self if each.group is not None],
            "arm": [each.arm for each in self],
        }

    def to_frame(self, rows: Rows = "cells") -> pd.DataFrame:
        """All of them as one pandas frame. Arguments and errors as for `Result.to_frame`.

        Raises:
            LgbenchError: There is no result.
        """
        return result_frame([each.labelled for each in self], rows)

    def _repr_html_(self) -> str:
        from lgbench.python.html import results_html

        return results_html(self)


def read_result(folder: Path, *, label: str | None = None, rescore: bool = False) -> Result:
    """The result in a folder.

    Args:
        folder: Of a finished evaluation.
        label: The system's name in frames; None for what the folders say.
        rescore: Whether to recompute every count from the replies.

    Raises:
        LgbenchError: It cannot be read, or its counts do not follow from its replies.
    """
    record = read_record(folder / RESULT_FILE, ResultRecord)
    result = Result.of(record, folder=folder, label=label or _label(folder))
    return with_every_count(result) if rescore else result


def with_every_count(result: Result) -> Result:
    """The result as its replies give it, with the counts that older results were written without.

    Raises:
        LgbenchError: The counts do not follow from the replies.
    """
    found = Result.of(result.rescored.result, folder=result.folder, label=result._label)
    found.__dict__["rescored"] = result.rescored
    return found


def _label(folder: Path) -> str | None:
    """The system of a run: as a submission names it, or the folder in which `reproduce` keeps a system's runs."""
    home = home_of(folder)
    if home is None:
        return None
    submitted = home / SYSTEM_FILE
    return read_record(submitted, SystemRecord).name if submitted.exists() else Path(os.path.realpath(home)).name


def home_of(folder: Path) -> Path | None:
    """The folder that a run shares with the others of its system: a submission, or what `reproduce` leaves."""
    above = folder.absolute().parent
    if (above / SYSTEM_FILE).exists():
        return above
    return above.parent if folder.name == "result" and (above / _TRAINING_RECORD).exists() else None


def temporary_folder() -> Path:
    """A new folder for the files of a result that nobody named a folder for."""
    return Path(tempfile.mkdtemp(prefix="lgbench-"))


def remove_with(result: Result, folder: Path) -> None:
    """Remove a temporary folder as soon as its result is gone, or Python ends."""
    weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)


def tell_left_out(problems: Sequence[str], read: str, *, function: str, skip: bool) -> None:
    """Warn the caller of `function` of each thing that could not be read, or raise.

    Args:
        problems: A sentence for each.
        read: How many others were read, with the noun in the singular: "1 other result".
        function: The name of the public function that reads them.
        skip: Whether to warn instead of raising.

    Raises:
        LgbenchError: There are problems, and none may be skipped.
    """
    if problems and not skip:
        left = f"{read} was" if read.startswith("1 ") else f"{read}s were"
        raise LgbenchError("\n".join([*problems, f"{left} read: {function}(..., skip=True) takes these alone."]))
    for problem in problems:
        warnings.warn(f"Left out: {problem}", stacklevel=3)
