"""The wrong replies of results, chosen by task, length and kind of mistake, as rows and a page at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from lgbench.data.task import Example
from lgbench.doctor.diagnosis import MISTAKES, mistake_of, wrong_replies
from lgbench.evaluation.rescoring import rescore_result
from lgbench.results.reply import FLAGS, Reply
from lgbench.results.schema import Result
from lgbench.scoring.frames import frame
from lgbench.util.counting import CountReport, counted, no_report
from lgbench.util.errors import LgbenchError, UnknownNameError

if TYPE_CHECKING:
    import pandas as pd

OTHER = "other"
"""The kind of a wrong reply that no mistake of the table explains."""
KINDS = (*(mistake.name for mistake in MISTAKES), OTHER)


class WrongReply(NamedTuple):
    """A wrong reply.

    Attributes:
        run: The folder of its run.
        result: The result of the run.
        example: What was asked.
        reply: What was replied.
        mistake: One of `KINDS`.
    """

    run: Path
    result: Result
    example: Example
    reply: Reply
    mistake: str

    @property
    def first_wrong(self) -> int:
        """The position of the first character that differs; the shorter length where one begins the other."""
        pairs = zip(self.reply.text, self.example.target, strict=False)
        shorter = min(len(self.reply.text), len(self.example.target))
        return next((at for at, (got, wanted) in enumerate(pairs) if got != wanted), shorter)

    def row(self) -> dict[str, Any]:
        """Everything about it, by name."""
        return {
            "suite": self.result.suite,
            "model": self.result.system.model,
            "arm": self.result.arm,
            "group": self.result.group,
            "seed": self.result.seed,
            "id": self.example.id,
            "task": self.example.task,
            "length": self.example.length,
            "prompt": self.example.prompt,
            "target": self.example.target,
            "reply": self.reply.text,
            "first_wrong": self.first_wrong,
            "mistake": self.mistake,
            **{name: getattr(self.reply, name) for name in FLAGS},
            "run": str(self.run),
        }


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Which wrong replies are wanted; empty fields choose all.

    Attributes:
        tasks: Names of tasks.
        lengths: Lengths.
        mistakes: Some of `KINDS`.

    Raises:
        UnknownNameError: There is no such kind of mistake.
    """

    tasks: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    mistakes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in self.mistakes:
            if name not in KINDS:
                raise UnknownNameError("kind of mistake", name, KINDS)

    @classmethod
    def of(cls, *, tasks: str | Sequence[str], lengths: int | Sequence[int], mistakes: str | Sequence[str]) -> Self:
        """One of each, or several."""
        return cls(
            tasks=(tasks,) if isinstance(tasks, str) else tuple(tasks),
            lengths=(lengths,) if isinstance(lengths, int) else tuple(lengths),
            mistakes=(mistakes,) if isinstance(mistakes, str) else tuple(mistakes),
        )

    def check(self, results: Sequence[Result]) -> None:
        """Refuse tasks and lengths that none of the results holds, for nothing would be found.

        Raises:
            LgbenchError: There is one.
        """
        cells = [cell for result in results for cell in result.cells]
        evaluated = list(dict.fromkeys(cell.task for cell in cells))
        for name in self.tasks:
            if name not in evaluated:
                raise UnknownNameError(
                    "task of this run" if len(results) == 1 else "task of these runs", name, evaluated
                )
        found = sorted({cell.length for cell in cells if not self.tasks or cell.task in self.tasks})
        for number in self.lengths:
            if number not in found:
                raise LgbenchError(f"Nothing of length {number} was evaluated, but {', '.join(map(str, found))}.")

    def takes(self, example: Example) -> bool:
        """Whether a reply to this example is wanted, if its mistake is."""
        return (not self.tasks or example.task in self.tasks) and (not self.lengths or example.length in self.lengths)


def wrong_replies_of(result: Result, folder: Path, wanted: Filter) -> list[WrongReply]:
    """The wrong replies of a result, of every kind that is wanted, in its order. The result is re-scored first.

    Args:
        result: The result.
        folder: Where its replies are.
        wanted: Which.

    Raises:
        LgbenchError: The result does not hold what is wanted, or its counts do not follow from its replies.
    """
    wanted.check([result])
    return list(_wrong(result, folder, wanted))


def wrong_replies_in(
    runs: Mapping[Path, Result], wanted: Filter, report: CountReport = no_report
) -> tuple[list[WrongReply], list[str]]:
    """The wrong replies of several runs, and a sentence for each run whose replies cannot be used.

    Args:
        runs: Results by their folders.
        wanted: Which replies.
        report: Takes how many runs are re-scored, and of how many.

    Raises:
        LgbenchError: None of the results holds what is wanted.
    """
    wanted.check(list(runs.values()))
    found: list[WrongReply] = []
    problems = []
    for folder, result in counted(list(runs.items()), report):
        try:
            found += _wrong(result, folder, wanted)
        except LgbenchError as error:
            problems.append(str(error))
    return found, problems


def _wrong(result: Result, folder: Path, wanted: Filter) -> Iterator[WrongReply]:
    _, replies = rescore_result(result, folder)
    for example, reply in wrong_replies(result, replies):
        if not wanted.takes(example):
            continue
        mistake = mistake_of(reply, example.target)
        name = OTHER if mistake is None else mistake.name
        if not wanted.mistakes or name in wanted.mistakes:
            yield WrongReply(folder, result, example, reply, name)


class Page(NamedTuple):
    """Some of many wrong replies.

    Attributes:
        number: Of the page, from 1.
        pages: How many there are.
        shown: The replies on it.
    """

    number: int
    pages: int
    shown: list[WrongReply]


def page(found: Sequence[WrongReply], *, number: int, size: int) -> Page:
    """A page of wrong replies. Each is spread evenly over all of them; together the pages hold each reply once.

    Args:
        found: At least one.
        number: Of the page, from 1.
        size: The most replies on a page.

    Raises:
        LgbenchError: There is no such page.
    """
    count = -(-len(found) // size)
    if not 1 <= number <= count:
        last = "There is only page 1" if count == 1 else f"Pages go from 1 to {count:,}"
        raise LgbenchError(f"There is no page {number:,} of {len(found):,} wrong replies. {last}.")
    return Page(number, count, list(found[number - 1 :: count]))


def kinds(found: Iterable[WrongReply]) -> dict[str, int]:
    """How many replies are of each kind of mistake, the most frequent first."""
    return dict(Counter(each.mistake for each in found).most_common())


def error_frame(found: Sequence[WrongReply]) -> pd.DataFrame:
    """Wrong replies as a pandas frame.

    Raises:
        LgbenchError: There is none.
    """
    if not found:
        raise LgbenchError(
            "There is no wrong reply to make a frame of: all are right, or none is of what was asked for."
        )
    return frame(each.row() for each in found)
