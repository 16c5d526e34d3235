"""From examples to replies: cells drawn ahead of the model, and its answers as they come."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from lgbench.data.cells import checked_cell, evaluated
from lgbench.data.suites import Cell
from lgbench.data.task import Example
from lgbench.evaluation.grading import as_reply
from lgbench.evaluation.planning import Plan
from lgbench.models.contract import PipelinedPredictor, Question, SharedPredictor, StreamingPredictor, Tokens
from lgbench.models.loaded import Model
from lgbench.models.recorded import RecordedReplies
from lgbench.models.safe_call import ask_in_parts
from lgbench.results.reply import Reply
from lgbench.results.schema import MAX_TOKENS, Usage


class Spent(NamedTuple):
    """What some replies took: seconds that the model worked, and tokens, where it counts them."""

    seconds: float = 0.0
    tokens: Tokens = Tokens()

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(self.seconds + other.seconds, self.tokens.plus(other.tokens))


class Answers(NamedTuple):
    """Some replies, by example, and what they took."""

    replies: tuple[tuple[Example, Reply], ...]
    spent: Spent


def examples_ahead(plan: Plan) -> Iterator[list[Example]]:
    """The examples of each cell of a plan. While the model works on one cell, the next is drawn.

    Raises:
        LgbenchError: The examples of a cell are not the published ones.
    """
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(_examples, plan, plan.cells[0])
        for following in (*plan.cells[1:], None):
            examples = ahead.result()
            if following is not None:
                ahead = pool.submit(_examples, plan, following)
            yield examples


def _examples(plan: Plan, cell: Cell) -> list[Example]:
    return evaluated(plan.suite, cell, checked_cell(plan.suite, cell), plan.limit)


def answers(model: Model, cells: Iterable[Sequence[Example]], *, batch_size: int | None) -> Iterator[Answers]:
    """Ask a model, and hand its replies on as they come. None as the batch size leaves it to the model.

    A cell is taken from `cells` when every reply to those before it was handed on; for a predictor that works on many
    questions at once, when every reply to those before the last was; for one that several processes hold, when one of
    them can take it.

    Args:
        model: The model.
        cells: The examples to ask of each cell.
        batch_size: Prompts in one call of `predict`; for a predictor that works on many questions at once, the most.

    Raises:
        LgbenchError: Recorded replies lack one of the examples.
        ModelError: The model raised, or broke the contract.
    """
    if isinstance(model.predictor, PipelinedPredictor):
        yield from _timed(model, _pipelined(model.predictor, cells, batch_size))
        return
    if isinstance(model.predictor, SharedPredictor):
        yield from _timed(model, _shared(model.predictor, cells, batch_size))
        return
    for examples in cells:
        yield from _timed(model, _cell_by_cell(model, examples, batch_size))


def _timed(model: Model, parts: Iterable[Mapping[Example, str | Reply]]) -> Iterator[Answers]:
    begun, used = time.perf_counter(), tokens_of(model)
    for part in parts:
        seconds, now_used = time.perf_counter() - begun, tokens_of(model)
        tokens = Tokens(now_used.prompt - used.prompt, now_used.completion - used.completion)
        yield Answers(tuple((example, as_reply(reply)) for example, reply in part.items()), Spent(seconds, tokens))
        begun, used = time.perf_counter(), now_used


def _cell_by_cell(
    model: Model, examples: Sequence[Example], batch_size: int | None
) -> Iterator[Mapping[Example, str | Reply]]:
    if not examples:
        return
    if isinstance(model.predictor, RecordedReplies):
        yield dict(zip(examples, model.predictor.lookup([example.id for example in examples]), strict=True))
        return
    examples = _longest_first(examples)
    prompts = [example.prompt for example in examples]
    for part in ask_in_parts(model.predictor, prompts, examples[0].task, batch_size=batch_size):
        yield {examples[position]: reply for position, reply in part.items()}


def _longest_first(examples: Sequence[Example]) -> list[Example]:
    """Batches then hold prompts of like length, and one too large for the memory fails at the start."""
    return sorted(examples, key=lambda example: -len(example.prompt))


def _shared(
    predictor: SharedPredictor, cells: Iterable[Sequence[Example]], batch_size: int | None
) -> Iterator[Mapping[Example, str]]:
    taken: list[list[Example]] = []

    def questions() -> Iterator[list[Question]]:
        for examples in cells:
            taken.append(_longest_first(examples))
            yield [Question(example.prompt, example.task) for example in taken[-1]]

    for number, replies in predictor.answer(questions(), batch_size=batch_size):
        yield dict(zip(taken[number], replies, strict=True))
        taken[number] = []


def _pipelined(
    predictor: PipelinedPredictor, cells: Iterable[Sequence[Example]], at_most: int | None
) -> Iterator[Mapping[Example, str]]:
    questions = _Questions(cells)
    for part in predictor.converse(questions.following, at_most=at_most):
        yield {questions.answered(number): reply for number, reply in part.items()}


class _Questions:
    """The examples of many cells as one row of questions, never of more than two cells at a time.

    Two keep a model busy; with more, a single late reply would pile up all the cells after it.
    """

    def __init__(self, cells: Iterable[Sequence[Example]]) -> None:
        self._cells = enumerate(cells)
        self._waiting: deque[tuple[int, Example]] = deque()  # with the number of the cell
        self._asked: dict[int, tuple[int, Example]] = {}
        self._count = 0
        self._unanswered: dict[int, int] = {}  # of each cell from the oldest unfinished one on

    def following(self) -> Question | None:
        """The next question, if one may be asked now."""
        while not self._waiting and self._take_cell():
            pass
        if not self._waiting:
            return None
        self._asked[self._count] = self._waiting.popleft()
        example = self._asked[self._count][1]
        self._count += 1
        return Question(example.prompt, example.task)

    def _take_cell(self) -> bool:
        while self._unanswered and not self._unanswered[oldest := min(self._unanswered)]:
            del self._unanswered[oldest]
        if len(self._unanswered) == 2:
            return False
        for number, examples in self._cells:
            self._unanswered[number] = len(examples)
            self._waiting.extend((number, example) for example in examples)
            return True
        return False

    def answered(self, number: int) -> Example:
        """The example that was the question of this number. Ask once."""
        cell, example = self._asked.pop(number)
        self._unanswered[cell] -= 1
        return example


def tokens_of(model: Model) -> Tokens:
    """What a model has used so far; nothing for models that count no tokens."""
    return model.predictor.tokens if isinstance(model.predictor, StreamingPredictor) else Tokens()


def usage(model: Model, tokens: Tokens) -> Usage | None:
    """Tokens as a result records them, with their cost where the model knows prices; None where nothing is counted."""
    if not any(tokens):
        return None
    prices = model.predictor.prices if isinstance(model.predictor, StreamingPredictor) else None
    cost = None if prices is None else round((tokens.prompt * prices[0] + tokens.completion * prices[1]) / 1e6, 6)
    prompt, completion = (min(count, MAX_TOKENS) for count in tokens)  # a server may count absurdly in each reply
    return Usage(prompt_tokens=prompt, completion_tokens=completion, cost=cost)
