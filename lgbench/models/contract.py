"""The contract between lgbench and a model: `predict`, and nothing more."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from lgbench.data.suites import Suite
from lgbench.results.schema import Environment

DEFAULT_BATCH_SIZE = 64


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


class Tokens(NamedTuple):
    """Tokens that a model has read and written."""

    prompt: int = 0
    completion: int = 0

    def plus(self, other: Tokens) -> Tokens:
        """The sum of two."""
        return Tokens(self.prompt + other.prompt, self.completion + other.completion)


class StreamingPredictor(ABC):
    """What lgbench's own adapters offer beyond `predict`. A user's class need not, and its methods are left alone.

    Attributes:
        tokens: What the model has used so far, where it counts tokens.
        prices: What a million tokens read, and a million written, cost; None where that is not known.
        one_by_one: Whether asking again one by one would prove anything about batches.
    """

    tokens: Tokens = Tokens()
    prices: tuple[float, float] | None = None
    one_by_one: bool = True

    def predict(self, prompts: Sequence[str], task: str) -> Sequence[str]:
        """Reply to prompts of one task."""
        replies = {position: reply for part in self.stream(prompts, task) for position, reply in part.items()}
        return [replies[position] for position in range(len(prompts))]

    @abstractmethod
    def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
        """Called once before the first prompt, with what will be asked. The place to say that it cannot work."""

    @abstractmethod
    def stream(self, prompts: Sequence[str], task: str) -> Iterator[Mapping[int, str]]:
        """Reply to prompts of one task in parts and in any order: each part maps positions to replies.

        Used instead of `predict` under `--batch-size auto`. Every part is on disk before the next is asked for.
        """

    def each_alone(self, prompts: Sequence[str], task: str) -> list[str]:
        """Reply to prompts of one task, each in a batch of its own. Several such batches may be at work at once."""
        return [reply for prompt in prompts for reply in self.predict([prompt], task)]


class Question(NamedTuple):
    """A prompt and the task it belongs to."""

    prompt: str
    task: str


class PipelinedPredictor(StreamingPredictor):
    """A streaming predictor that works on many questions at once, and need not wait for one cell to begin the next."""

    @abstractmethod
    def converse(
        self, following: Callable[[], Question | None], *, at_most: int | None = None
    ) -> Iterator[Mapping[int, str]]:
        """Reply to questions in parts and in any order, until nothing is under way and nothing follows.

        Args:
            following: Gives the next question; None while there is none. It may have one again after the next part.
            at_most: Questions at once; None leaves it to the predictor.

        Returns:
            Parts that map the numbers of questions, counted from 0 in the order in which they were given, to replies.
        """

    @abstractmethod
    def wind_down(self) -> None:
        """Begin no further question of the conversation that goes on; what is under way is still handed on."""


class SharedPredictor(ABC):
    """A model that several processes hold: it is asked whole cells, several at once. Not for users' classes.

    Attributes:
        environment: The environment of the processes that hold it.
        one_by_one: As for `StreamingPredictor`.
    """

    environment: Environment
    one_by_one: bool = True

    @abstractmethod
    def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
        """As for `StreamingPredictor`."""

    @abstractmethod
    def predict(self, prompts: Sequence[str], task: str) -> Sequence[str]:
        """Reply to prompts of one task, in one of the processes."""

    @abstractmethod
    def answer(
        self, cells: Iterable[Sequence[Question]], *, batch_size: int | None
    ) -> Iterator[tuple[int, Sequence[str]]]:
        """Reply to cells, in any order.

        Args:
            cells: The questions of each, all of one task. A cell is taken when there is a process to ask.
            batch_size: Prompts in one call of `predict`; None leaves it to the model.

        Returns:
            The number of a cell, from 0 in the order in which they were taken, and the replies to its questions.
        """

    @abstractmethod
    def each_alone(self, prompts: Sequence[str], task: str) -> list[str]:
        """Reply to prompts of one task, each in a batch of its own, all in one of the processes."""


class CappedReply(str):
    """A reply that ended because the model reached its generation cap: scored as text, counted apart."""

    __slots__ = ()


class RefusedReply(str):
    """An empty reply in the place of one that a server refused to give: scored as text, counted apart."""

    __slots__ = ()
