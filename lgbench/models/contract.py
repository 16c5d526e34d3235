"""The contract between lgbench and a model: `predict`, and nothing more."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import lgbench
from lgbench.errors import LgbenchError, ModelError


class Predictor(Protocol):
    """A model.

    `predict` gets prompts of one task and returns one reply for each, in order. A reply must be the exact target text;
    the model decides when to stop. It sees the prompts and the task's name, never a target and never a length.

    Three attributes are read where a predictor has them: `batch_size` (int, what `--batch-size auto` means for it),
    `device` (str) and `parameters` (int), both for the result's record.
    """

    def predict(self, prompts: Sequence[str], task: str) -> Sequence[str]:
        """Reply to prompts of one task."""
        ...


class CappedReply(str):
    """A reply that ended because the model reached its generation cap: scored as text, counted apart."""

    __slots__ = ()


def ask(predictor: Predictor, prompts: Sequence[str], task: str) -> list[str]:
    """Call `predict` and check what it returns.

    Raises:
        ModelError: It raised, or did not return one string for each prompt.
    """
    with user_code(f"The model's predict, given {len(prompts)} {task} prompts,"):
        replies = predictor.predict(list(prompts), task)
    return _checked(replies, len(prompts), task)


def _checked(replies: object, expected: int, task: str) -> list[str]:
    wanted = f"It must return a list with one string for each of the {expected} {task} prompts it was given."
    if isinstance(replies, str | bytes):
        raise ModelError(f"predict returned a single {type(replies).__name__}. {wanted}")
    if not isinstance(replies, Iterable):
        raise ModelError(f"predict returned {type(replies).__name__}, not a list. {wanted}")
    listed: list[object] = list(replies)
    if len(listed) != expected:
        raise ModelError(f"predict returned {len(listed)} replies. {wanted}")
    strings = [reply for reply in listed if isinstance(reply, str)]
    if len(strings) < expected:
        position, odd = next((i, reply) for i, reply in enumerate(listed) if not isinstance(reply, str))
        raise ModelError(f"predict returned {type(odd).__name__} as reply {position + 1}. {wanted}")
    return strings


@contextlib.contextmanager
def user_code(what: str) -> Iterator[None]:
    """Run the user's code: whatever it raises becomes a `ModelError`, told by `what` and by the user's own frames."""
    try:
        yield
    except LgbenchError:
        raise
    except (Exception, SystemExit) as error:
        told = f"{what} raised {type(error).__name__}: {str(error)[:200]}".rstrip(": ")
        raise ModelError(told, user_traceback=_user_traceback(error)) from error


def _user_traceback(error: BaseException) -> str:
    """The traceback of an error without the leading frames of lgbench and of Python's import machinery."""
    own = str(Path(lgbench.__file__).parent)
    frame: TracebackType | None = error.__traceback__
    while frame is not None and frame.tb_frame.f_code.co_filename.startswith((own, "<frozen importlib")):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame))
