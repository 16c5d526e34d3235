"""Training records of many runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, overload

from lgbench.evaluation.finding import files_named
from lgbench.python.results import tell_left_out
from lgbench.training.record import RECORD, TrainingRecord, curve_frame, read_training_record
from lgbench.util.errors import LgbenchError

if TYPE_CHECKING:
    import pandas as pd


class Records(Sequence[TrainingRecord]):
    """Several training records, in order.

    Args:
        records: The records.
    """

    def __init__(self, records: Iterable[TrainingRecord]) -> None:
        self._records = tuple(records)

    @overload
    def __getitem__(self, index: int) -> TrainingRecord: ...
    @overload
    def __getitem__(self, index: slice) -> Records: ...
    def __getitem__(self, index: int | slice) -> TrainingRecord | Records:
        """A record, or some of them."""
        return Records(self._records[index]) if isinstance(index, slice) else self._records[index]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._records)

    def __repr__(self) -> str:
        """In a line."""
        groups = dict.fromkeys(each.plan.group for each in self)
        return f"<{len(self)} training record{'' if len(self) == 1 else 's'}: {', '.join(groups)}>"

    def to_frame(self) -> pd.DataFrame:
        """Their curves as one pandas frame: a row for each record, point, task and length.

        Raises:
            LgbenchError: There is no record, or one has no point yet.
        """
        if not self._records:
            raise LgbenchError("There is no training record to make a frame of.")
        return curve_frame(self._records)


def load_records(*folders: str | Path, skip: bool = False) -> Records:
    """The training records in and below folders: of `train`, `reproduce`, `sweep` and the others.

    Args:
        folders: At least one.
        skip: Whether to leave out what cannot be read, with a warning for each, instead of raising.

    Raises:
        LgbenchError: A folder does not exist or holds no record; or records cannot be read, with a sentence for each.
    """
    problems, records = list[str](), list[TrainingRecord]()
    paths = files_named(RECORD, [Path(folder) for folder in folders], unreadable=problems)
    if not paths and not problems:
        named = ", ".join(repr(str(folder)) for folder in folders) or "no folder"
        raise LgbenchError(f"There is no {RECORD} in {named}.")
    for path in paths:
        try:
            records.append(read_training_record(path.parent))
        except LgbenchError as error:
            problems.append(str(error))
    tell_left_out(problems, f"{len(records)} other record", function="load_records", skip=skip)
    return Records(records)
