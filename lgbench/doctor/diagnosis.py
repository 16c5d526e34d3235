"""Simple systematic mistakes, such as a newline after every answer, found in wrong replies."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from lgbench.data.cells import evaluated
from lgbench.data.suites import Cell, Suite, load_suite
from lgbench.data.task import Example
from lgbench.evaluation.folder import REPLIES_FILE
from lgbench.evaluation.rescoring import cell_examples, rescore_result
from lgbench.evaluation.stored import read_stored_replies
from lgbench.results.reply import Reply
from lgbench.results.schema import LATER_COUNTS, Result
from lgbench.scoring.measures import zone_lengths

_ALL, _WRONG = "all", "wrong"
_FEWEST = 4  # replies that a mistake must make; fewer can be chance, as a reply of one character that fits backwards
# Two characters have only one wrong order, so a model that knows them but guesses their order seems to write backwards.
_FEWEST_TURNED = 3
_NUMBERS = re.compile(r"[0-9+=]+")
_QUOTES = "'\"`“”«»\N{LEFT SINGLE QUOTATION MARK}\N{RIGHT SINGLE QUOTATION MARK}"
_SIGNS = re.compile("[^0-9A-Za-z]+")
_BETWEEN = re.compile(r"[\s,]+")
_NODE_OR_CHARACTER = re.compile(r"\[[0-9]+\]|.", re.DOTALL)
_OF_ANSWERS = frozenset(string.ascii_letters + string.digits)


class Mistake(NamedTuple):
    """A way in which a reply is wrong although its answer is right, or why it holds none.

    Attributes:
        name: For programs.
        clause: For people: what these replies do, as in "12 of 12 wrong replies ...".
        made_by: Whether a wrong reply to this target is of this kind.
    """

    name: str
    clause: str
    made_by: Callable[[Reply, str], bool]


def _in_quotes(reply: Reply, target: str) -> bool:
    return reply.text.strip().strip(_QUOTES).strip() == target


def _spread_out(reply: Reply, target: str) -> bool:
    return len(reply.text) > len(target) and _BETWEEN.sub("", reply.text) == target


def _but_for_zeros(text: str, target: str) -> bool:
    return (
        _NUMBERS.fullmatch(target) is not None
        and _NUMBERS.fullmatch(text) is not None
        and _of_each_number(lambda digits: digits.strip("0"), text)
        == _of_each_number(lambda digits: digits.strip("0"), target)
    )


def _of_each_number(change: Callable[[str], str], text: str) -> str:
    return re.sub("[0-9]+", lambda number: change(number[0]), text)


def _backwards(reply: Reply, target: str) -> bool:
    text = reply.text.strip()
    if sorted(text.replace("0", "")) != sorted(target.replace("0", "")):  # true of most, and seen at once
        return False
    parts = _NODE_OR_CHARACTER.findall(text)
    if len(parts) < _FEWEST_TURNED:
        return False
    turned = "".join(parts[::-1])
    each_turned = _of_each_number(lambda digits: digits[::-1], text)
    return turned == target or _but_for_zeros(turned, target) or _but_for_zeros(each_turned, target)


def _in_another_case(reply: Reply, target: str) -> bool:
    return reply.text.strip() in (target.lower(), target.upper(), target.swapcase())


def _among_other_text(reply: Reply, target: str) -> bool:
    text, part_of_answer = reply.text, _OF_ANSWERS | {"[", "]"} if "[" in target else _OF_ANSWERS
    at = text.find(target)
    while at >= 0:  # a pattern for each target would cost more than all other mistakes
        end = at + len(target)
        if part_of_answer.isdisjoint((text[at - 1 : at], text[end : end + 1])):
            return True
        at = text.find(target, at + 1)
    return False


def _among_other_signs(reply: Reply, target: str) -> bool:
    return _SIGNS.sub("", reply.text) == _SIGNS.sub("", target)


MISTAKES = (
    Mistake("empty", "are empty", lambda reply, target: not reply.text),
    Mistake(
        "white_space",
        "are right but for white space at an end",
        lambda reply, target: reply.text.strip() == target,
    ),
    Mistake("quotes", "are right but for the quotation marks or backticks around them", _in_quotes),
    Mistake("spread_out", "are right but for spaces or commas between their characters", _spread_out),
    Mistake(
        "zeros",
        "are right but for zeros at an end of a number",
        lambda reply, target: _but_for_zeros(reply.text.strip(), target),
    ),
    Mistake("backwards", "are right when read backwards", _backwards),
    Mistake("case", "are right but for the case of their letters", _in_another_case),
    Mistake("early", "stop before their end", lambda reply, target: target.startswith(reply.text)),
    Mistake("beginning", "lack their beginning", lambda reply, target: target.endswith(reply.text)),
    Mistake("late", "are right but do not stop", lambda reply, target: reply.text.startswith(target)),
    Mistake("surrounded", "hold the right answer among other text", _among_other_text),
    Mistake("signs", "are right but for signs between their letters and digits", _among_other_signs),
    Mistake("capped", "were ended by the generation cap", lambda reply, target: reply.capped),
)


class Diagnosis(NamedTuple):
    """A mistake that a model makes systematically.

    Attributes:
        mistake: What these replies do.
        tasks: Where.
        made: How many replies to short prompts of these tasks do it.
        wrong: How many replies to them are wrong.
    """

    mistake: Mistake
    tasks: tuple[str, ...]
    made: int
    wrong: int

    def __str__(self) -> str:
        named = " and ".join(self.tasks) if len(self.tasks) <= 2 else f"{len(self.tasks)} tasks ({self.tasks[0]}, ...)"
        return f"{self.made:,} of {self.wrong:,} wrong replies to short prompts of {named} {self.mistake.clause}"


def mistake_of(reply: Reply, target: str) -> Mistake | None:
    """The first mistake of the table that makes this wrong reply; None for a right one or any other."""
    if reply.text == target:
        return None
    return next((mistake for mistake in MISTAKES if mistake.made_by(reply, target)), None)


class Watch:
    """Counts the mistakes in replies as they come.

    Args:
        cells: Those that are counted, of the shortest lengths, where a model that can do a task at all is right; None
            for all.
    """

    def __init__(self, cells: Iterable[Cell] | None = None) -> None:
        self._wanted = None if cells is None else frozenset(cells)
        self._counts: dict[Cell, Counter[Mistake | str]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no reply was counted."""
        return not self._counts

    def add(self, cell: Cell, replied: Iterable[tuple[Example, Reply]]) -> None:
        """Count replies to examples of a cell."""
        if self._wanted is not None and cell not in self._wanted:
            return
        counts = self._counts.setdefault(cell, Counter())
        for example, reply in replied:
            counts[_ALL] += 1
            if reply.text != example.target:
                counts[_WRONG] += 1
                if (mistake := mistake_of(reply, example.target)) is not None:
                    counts[mistake] += 1

    def diagnoses(self) -> list[Diagnosis]:
        """The mistakes that the model makes systematically, the most frequent first.

        A mistake is systematic in a cell where it makes half of the wrong replies and a tenth of all, so that no other
        explanation is as good, and a model that is nearly always right has none. Four such replies are needed.
        """
        found = [_diagnosis(mistake, self._counts) for mistake in MISTAKES]
        return sorted(filter(None, found), key=lambda each: -each.made)


def diagnose(asked: Iterable[tuple[Example, Reply]]) -> list[Diagnosis]:
    """The mistakes that a model makes systematically in these replies, by the same rule."""
    watch = Watch()
    for cell, replied in groupby(asked, key=lambda each: Cell(each[0].task, each[0].length)):
        watch.add(cell, replied)
    return watch.diagnoses()


def _diagnosis(mistake: Mistake, cells: Mapping[Cell, Counter[Mistake | str]]) -> Diagnosis | None:
    affected = {
        cell: counts[mistake]
        for cell, counts in cells.items()
        if counts[mistake] and 2 * counts[mistake] >= counts[_WRONG] and 10 * counts[mistake] >= counts[_ALL]
    }
    if sum(affected.values()) < _FEWEST:
        return None
    tasks = tuple(dict.fromkeys(cell.task for cell in affected))
    of_tasks = [counts for cell, counts in cells.items() if cell.task in tasks]
    made, wrong = (sum(counts[what] for counts in of_tasks) for what in (mistake, _WRONG))
    return Diagnosis(mistake, tasks, made, wrong)


def short_cells(suite: Suite, cells: Iterable[Cell], group: str | None) -> list[Cell]:
    """Those of the cells of an evaluation in which mistakes are looked for.

    At each task's in-distribution lengths, or at the shortest length of a task that was not evaluated there. What a
    model trained on these lengths gets wrong beyond them is no simple mistake, though much of it stops early.

    Args:
        suite: The suite.
        cells: The cells.
        group: The group that a trained arm belongs to.
    """
    evaluated_cells = frozenset(cells)
    lengths: dict[str, list[int]] = {}
    for cell in suite.cells():
        if cell in evaluated_cells:
            lengths.setdefault(cell.task, []).append(cell.length)
    short: list[Cell] = []
    for task, evaluated_at in lengths.items():
        trained = zone_lengths(suite, task, "in_distribution", group)
        short += [Cell(task, each) for each in evaluated_at if each in trained] or [Cell(task, min(evaluated_at))]
    return short


def diagnose_result(result: Result, replies: Mapping[str, Reply]) -> list[Diagnosis]:
    """The systematic mistakes of a result.

    Args:
        result: The result.
        replies: Its stored replies by example id.
    """
    suite = load_suite(result.suite, result.draft)
    cells = [Cell(cell.task, cell.length) for cell in result.cells]
    return diagnose(_replied(result, replies, short_cells(suite, cells, result.group)))


def wrong_replies(result: Result, replies: Mapping[str, Reply]) -> Iterator[tuple[Example, Reply]]:
    """Every example of a result whose reply is wrong, with the reply, in the result's order."""
    cells = [Cell(cell.task, cell.length) for cell in result.cells]
    return ((example, reply) for example, reply in _replied(result, replies, cells) if reply.text != example.target)


def _replied(result: Result, replies: Mapping[str, Reply], cells: Iterable[Cell]) -> Iterator[tuple[Example, Reply]]:
    suite = load_suite(result.suite, result.draft)
    for cell in cells:
        for example in evaluated(suite, cell, cell_examples(suite, cell), result.limit):
            yield example, replies.get(example.id, Reply(example.target))


class Examined(NamedTuple):
    """A result after a look at its replies.

    Attributes:
        result: The result, with every count that its replies give.
        diagnoses: The mistakes that the model makes systematically.
    """

    result: Result
    diagnoses: list[Diagnosis]


def examine_result(result: Result, folder: Path) -> Examined:
    """Look at the replies of a result.

    Raises:
        LgbenchError: They cannot be read; or the result lacks counts, and its others do not follow from its replies.
    """
    if any(getattr(cell.counts, name) is None for cell in result.cells for name in LATER_COUNTS):
        (result, *_), replies = rescore_result(result, folder)
    else:
        replies = read_stored_replies(folder / REPLIES_FILE)
    return Examined(result, diagnose_result(result, replies))
