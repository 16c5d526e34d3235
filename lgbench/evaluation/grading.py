"""Replies against their targets, counted. Definitions: docs/protocol.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lgbench.data.suites import Cell
from lgbench.data.task import Example, Task
from lgbench.models.contract import CappedReply, RefusedReply
from lgbench.results.reply import FLAGS, Reply
from lgbench.results.schema import MAX_REPLY_CHARS, CellCounts, FirstWrong


def as_reply(given: str | Reply) -> Reply:
    """A reply as the model gave it, or as it was recorded, cut to 4096 characters."""
    if isinstance(given, str):
        given = Reply(given, capped=isinstance(given, CappedReply), refused=isinstance(given, RefusedReply))
    joined = _joined(given.text)
    return given._replace(text=joined[:MAX_REPLY_CHARS], cut=given.cut or len(joined) > MAX_REPLY_CHARS)


def _joined(text: str) -> str:
    """A text in which each pair of surrogates is the one character that JSON makes of it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    return str(text)


class CellGrader:
    """Counts the replies to one cell."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._sums: Counter[str] = Counter()
        self._first_wrong: Counter[int] = Counter()

    def add(self, example: Example, reply: Reply) -> bool:
        """Count one reply and say whether it is right."""
        text, target = reply.text, example.target
        right = text == target
        sums = self._sums
        sums["total"] += 1
        sums.update(reply.flags)
        sums["chars_total"] += max(len(text), len(target))
        if right:
            sums["correct"] += 1
            sums["chars_correct"] += len(target)
        else:
            sums["starts_with_target"] += text.startswith(target)
            sums["empty"] += not text
            sums["early"] += bool(text) and target.startswith(text)
            agreements = [given == wanted for given, wanted in zip(text, target, strict=False)]
            sums["chars_correct"] += sum(agreements)
            self._first_wrong[agreements.index(False) if False in agreements else len(agreements)] += 1
        if self._task.walk is not None:
            walk = self._task.walk(example.prompt, text)
            sums["valid_moves"] += walk.valid_moves
            sums["right_endpoint"] += walk.right_endpoint
        return right

    def counts(self) -> CellCounts:
        """What was counted so far; at least one reply."""
        sums = self._sums
        is_path = self._task.walk is not None
        return CellCounts(
            total=sums["total"],
            correct=sums["correct"],
            starts_with_target=sums["starts_with_target"],
            empty=sums["empty"],
            early=sums["early"],
            chars_correct=sums["chars_correct"],
            chars_total=sums["chars_total"],
            first_wrong=tuple(FirstWrong(position=at, count=n) for at, n in sorted(self._first_wrong.items())),
            valid_moves=sums["valid_moves"] if is_path else None,
            right_endpoint=sums["right_endpoint"] if is_path else None,
            **{name: sums[name] for name in FLAGS},
        )


class OpenCell:
    """A cell at work.

    Args:
        number: Its number in the run, from 0.
        cell: The cell.
        task: Its task.
        examples: What is evaluated of it.
        earlier: Replies that exist, by the example's id.

    Attributes:
        replies: The replies so far, by the example's id.
        right: Whether each of them is right.
        correct: How many are.
    """

    def __init__(
        self, number: int, cell: Cell, task: Task, examples: Sequence[Example], earlier: Mapping[str, Reply]
    ) -> None:
        self.number = number
        self.cell = cell
        self.examples = examples
        self.replies: dict[str, Reply] = {}
        self.right: dict[str, bool] = {}
        self.correct = 0
        self._grader = CellGrader(task)
        for example in examples:
            if example.id in earlier:
                self.add(example, earlier[example.id])

    def add(self, example: Example, reply: Reply) -> None:
        """Grade a reply."""
        self.replies[example.id] = reply
        self.right[example.id] = right = self._grader.add(example, reply)
        self.correct += right

    @property
    def missing(self) -> list[Example]:
        """The examples without a reply."""
        return [example for example in self.examples if example.id not in self.replies]

    @property
    def complete(self) -> bool:
        """Whether every example has a reply."""
        return len(self.replies) == len(self.examples)

    def counts(self) -> CellCounts:
        """The counts so far."""
        return self._grader.counts()
