"""Calling a user's model: whatever it raises or gives back wrongly is told by its own words and frames."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from itertools import islice
from typing import Any

from lgbench.data.suites import Suite
from lgbench.models.builtin import Oracle
from lgbench.models.contract import (
    DEFAULT_BATCH_SIZE,
    CappedReply,
    Predictor,
    RefusedReply,
    SharedPredictor,
    StreamingPredictor,
)
from lgbench.util.errors import ModelError
from lgbench.util.users_code import user_code


def prepare(predictor: object, suite: Suite, tasks: Sequence[str]) -> None:
    """Tell a predictor what it will be asked, if it wants to know.

    Raises:
        LgbenchError: It cannot work on this.
        ModelError: It raised.
    """
    if isinstance(predictor, Oracle):
        predictor.solve_tasks_of(suite)
    if isinstance(predictor, StreamingPredictor | SharedPredictor):
        with user_code("The model's prepare"):
            predictor.prepare(suite, tuple(tasks))


def own_batch_size(predictor: object) -> int | None:
    """How many prompts a predictor says that it takes at once; None where it says nothing.

    Raises:
        ModelError: Its attribute raised.
    """
    own = own_number(predictor, "batch_size")
    return own if own is not None and own >= 1 else None


def own_number(predictor: object, name: str) -> int | None:
    """A whole number, Python's or NumPy's, that a predictor has as an attribute; None where it has none.

    Raises:
        ModelError: The attribute raised.
    """
    with user_code(f"The model's {name}"):
        said: Any = getattr(predictor, name, None)
    try:
        return None if isinstance(said, bool) else operator.index(said)
    except TypeError:  # an `nn.Module` has a method named `parameters`
        return None


def ask_in_parts(
    predictor: Predictor, prompts: Sequence[str], task: str, *, batch_size: int | None
) -> Iterator[Mapping[int, str]]:
    """Replies by position, as they come. Without a batch size the predictor streams, or chooses one.

    Raises:
        ModelError: It raised, or did not give one string for each prompt.
    """
    if batch_size is None and isinstance(predictor, StreamingPredictor):
        yield from _streamed(predictor, prompts, task)
        return
    size = batch_size or own_batch_size(predictor) or DEFAULT_BATCH_SIZE
    for start in range(0, len(prompts), size):
        yield dict(enumerate(ask(predictor, prompts[start : start + size], task), start))


def _streamed(predictor: StreamingPredictor, prompts: Sequence[str], task: str) -> Iterator[Mapping[int, str]]:
    what = f"The model's stream, given {len(prompts)} {task} prompts,"
    missing = set(range(len(prompts)))
    with user_code(what):
        parts = iter(predictor.stream(list(prompts), task))
    while missing:
        with user_code(what):
            part = next(parts, None)
        if part is None:
            raise ModelError(f"{what} ended with {len(missing)} of them unanswered.")
        for position, reply in part.items():
            if position not in missing:
                raise ModelError(f"{what} answered position {position!r}, which is none or was answered before.")
            if not isinstance(reply, str):
                raise ModelError(f"{what} gave {type(reply).__name__} as reply {position + 1}. It must be a string.")
        missing -= part.keys()
        yield part


def ask(predictor: Predictor, prompts: Sequence[str], task: str) -> list[str]:
    """Call `predict` and check what it returns.

    Raises:
        ModelError: It raised, or did not return one string for each prompt.
    """
    with user_code(f"The model's predict, given {len(prompts)} {task} prompts,"):
        replies = predictor.predict(list(prompts), task)
    return _checked(replies, len(prompts), task)


def ask_each_alone(predictor: Predictor, prompts: Sequence[str], task: str) -> list[str]:
    """Replies of a predictor that is given each prompt alone.

    Raises:
        ModelError: It raised, or did not return one string for each prompt.
    """
    if not isinstance(predictor, StreamingPredictor | SharedPredictor):
        return [reply for prompt in prompts for reply in ask(predictor, [prompt], task)]
    with user_code(f"The model's predict, given {len(prompts)} {task} prompts one by one,"):
        replies = predictor.each_alone(list(prompts), task)
    return _checked(replies, len(prompts), task)


def _checked(replies: object, expected: int, task: str) -> list[str]:
    wanted = f"It must return a list with one string for each of the {expected} {task} prompts it was given."
    if isinstance(replies, str | bytes):
        raise ModelError(f"predict returned a single {type(replies).__name__}. {wanted}")
    if not isinstance(replies, Iterable) or isinstance(replies, Mapping | Set):  # a set has no order of its own
        raise ModelError(f"predict returned {type(replies).__name__}, not a list. {wanted}")
    with user_code(f"The model's predict, given {expected} {task} prompts,"):  # a generator runs only here
        listed: list[object] = list(islice(replies, expected + 1))  # one too many tells: it may have no end
    if len(listed) != expected:
        count = f"more than {expected}" if len(listed) > expected else len(listed)
        raise ModelError(f"predict returned {count} replies. {wanted}")
    strings = [_plain(reply) for reply in listed if isinstance(reply, str)]
    if len(strings) < expected:
        position, odd = next((i, reply) for i, reply in enumerate(listed) if not isinstance(reply, str))
        raise ModelError(f"predict returned {type(odd).__name__} as reply {position + 1}. {wanted}")
    return strings


def _plain(reply: str) -> str:
    """A reply as a string with no methods of the user's, so that what is scored is what is stored."""
    if type(reply) in _REPLY_KINDS:
        return reply
    kind = next(kind for kind in _REPLY_KINDS if isinstance(reply, kind))
    return kind(str.__str__(reply))


_REPLY_KINDS = (CappedReply, RefusedReply, str)
