"""Layer 3: from examples to replies: cells drawn ahead of the model, and its answers as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from lgbench.cells import checked_cell, evaluated
from lgbench.grading import Reply, as_reply
from lgbench.models.contract import StreamingPredictor, Tokens, ask_in_parts
from lgbench.models.loaded import Model
from lgbench.models.recorded import RecordedReplies
from lgbench.planning import Plan
from lgbench.results import Usage
from lgbench.suites import Cell
from lgbench.task import Example


class Spent(NamedTuple):
    """What some replies took: seconds that the model worked, and tokens, where it counts them."""

    seconds: float = 0.0
    tokens: Tokens = Tokens()

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        tokens = Tokens(*map(sum, zip(self.tokens, other.tokens, strict=True)))
        return Spent(self.seconds + other.seconds, tokens)


class Answers(NamedTuple):
    """Some replies, by example, and what they took."""

    replies: tuple[tuple[Example, Reply], ...]
    spent: Spent


def drawn_ahead(plan: Plan) -> Iterator[list[Example]]:
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


def answers(model: Model, examples: Sequence[Example], *, batch_size: int | None) -> Iterator[Answers]:
    """Ask a model, and hand its replies on as they come. None as the batch size leaves it to the model.

    The longest prompts go first: batches then hold prompts of like length, and a batch too large for the memory fails
    at the start and not at the end.

    Raises:
        LgbenchError: Recorded replies lack one of the examples.
        ModelError: The model raised, or broke the contract.
    """
    examples = sorted(examples, key=lambda example: -len(example.prompt))
    begun, used = time.perf_counter(), _tokens(model)
    for part in _parts(model, examples, batch_size):
        seconds, now_used = time.perf_counter() - begun, _tokens(model)
        tokens = Tokens(now_used.prompt - used.prompt, now_used.completion - used.completion)
        replies = tuple((examples[position], as_reply(text)) for position, text in part.items())
        yield Answers(replies, Spent(seconds, tokens))
        begun, used = time.perf_counter(), now_used


def _parts(model: Model, examples: Sequence[Example], batch_size: int | None) -> Iterator[Mapping[int, str]]:
    if not examples:
        return iter(())
    if isinstance(model.predictor, RecordedReplies):
        return iter([dict(enumerate(model.predictor.lookup([example.id for example in examples])))])
    prompts = [example.prompt for example in examples]
    return ask_in_parts(model.predictor, prompts, examples[0].task, batch_size=batch_size)


def _tokens(model: Model) -> Tokens:
    return model.predictor.tokens if isinstance(model.predictor, StreamingPredictor) else Tokens()


def usage(model: Model, tokens: Tokens) -> Usage | None:
    """Tokens as a result records them, with their cost where the model knows prices; None where nothing is counted."""
    if not any(tokens):
        return None
    prices = model.predictor.prices if isinstance(model.predictor, StreamingPredictor) else None
    cost = None if prices is None else round((tokens.prompt * prices[0] + tokens.completion * prices[1]) / 1e6, 6)
    return Usage(prompt_tokens=tokens.prompt, completion_tokens=tokens.completion, cost=cost)
