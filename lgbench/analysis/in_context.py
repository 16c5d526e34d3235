"""Tasks that a model learns from the demonstrations in its prompt, one hidden value of a family in each.

A row is `<begin>` and demonstrations `question>answer,`. `copy` and `shift` are those of the from-scratch experiments
of Xiong et al. (2024, arXiv 2410.05603): the letter at a hidden place of eight distinct ones, and a digit plus a hidden
number mod 10. `fields` is ours, for small models: a lowercase letter, an uppercase letter and a digit, of eight each,
of which one is the answer, so each answer shows which one is asked for.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lgbench.data.task import Stream
from lgbench.models.tokenizer import BEGIN, PUBLISHED
from lgbench.util.errors import UnknownNameError

Numbers = NDArray[np.int64]
ANSWER = 2
"""Tokens of an answer: the symbol, and the comma that ends it."""


@dataclass(frozen=True)
class Family:
    """Tasks that differ in a hidden value.

    Attributes:
        name: The family's.
        symbols: The numbered symbols of questions and answers.
        size: Symbols of a question.
        values: Hidden values, from 0 to one less.
        pair: Two values to mix.
        ask: Questions from a stream: symbols, shape (count, symbols of a question).
        solve: The answers' symbols, shape (...), of questions (..., symbols) and hidden values (...).
    """

    name: str
    symbols: str
    size: int
    values: int
    pair: tuple[int, int]
    ask: Callable[[Stream, int], Numbers]
    solve: Callable[[Numbers, Numbers], Numbers]

    def questions(self, stream: Stream, rows: int, count: int, *, other_than: Numbers | None = None) -> Numbers:
        """Questions, shape (rows, count, symbols of a question).

        Args:
            stream: The randomness.
            rows: Rows.
            count: Questions of each.
            other_than: A question for each row that is not among them, shape (rows, symbols of a question).
        """
        if other_than is None:
            return self.ask(stream, rows * count).reshape(rows, count, -1)
        drawn = self.ask(stream, rows * 3 * count).reshape(rows, 3 * count, -1)
        repeated = (drawn == other_than[:, None]).all(axis=2)
        kept = np.argsort(repeated, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(drawn, kept[..., None], axis=1)

    def tokens(self, questions: Numbers, answers: Numbers) -> Numbers:
        """Rows of tokens, shape (rows, 1 + demonstrations * tokens of one).

        Args:
            questions: Shape (rows, demonstrations, symbols of a question).
            answers: Shape (rows, demonstrations).
        """
        table = np.array(PUBLISHED.encode(self.symbols))
        rows, count, _ = questions.shape
        colon, comma = (np.full((rows, count, 1), PUBLISHED.encode(sign)[0]) for sign in ">,")
        body = np.concatenate([table[questions], colon, table[answers][..., None], comma], axis=2)
        begin = np.full((rows, 1), BEGIN)
        return np.concatenate([begin, body.reshape(rows, -1)], axis=1)

    def answered(self, count: int) -> NDArray[np.bool_]:
        """Which tokens of a row with this number of questions are answers or end one, shape (tokens,)."""
        of_one = np.zeros(self.size + 1 + ANSWER, dtype=bool)
        of_one[-ANSWER:] = True
        return np.concatenate([[False], np.tile(of_one, count)])


def _three(stream: Stream, count: int) -> Numbers:
    return np.stack([first + stream.below(8, count) for first in (0, 8, 16)], axis=1)


def _distinct(stream: Stream, count: int) -> Numbers:
    order = np.argsort(stream.words(26 * count).reshape(count, 26), axis=1, kind="stable")
    return np.asarray(order[:, :8], dtype=np.int64)


def _digit(stream: Stream, count: int) -> Numbers:
    return stream.below(10, count)[:, None]


def _at(questions: Numbers, hidden: Numbers) -> Numbers:
    found: Any = np.take_along_axis(questions, hidden[..., None], axis=-1)
    return np.asarray(found[..., 0], dtype=np.int64)


def _plus(questions: Numbers, hidden: Numbers) -> Numbers:
    return np.asarray((questions[..., 0] + hidden) % 10, dtype=np.int64)


_LETTERS = string.ascii_lowercase
FAMILIES = {
    each.name: each
    for each in (
        Family("fields", "abcdefghABCDEFGH01234567", 3, 3, (0, 1), _three, _at),
        Family("copy", _LETTERS, 8, 8, (2, 6), _distinct, _at),
        Family("shift", string.digits, 1, 10, (3, 7), _digit, _plus),
    )
}


def find_family(name: str) -> Family:
    """The family of a name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in FAMILIES:
        raise UnknownNameError("family", name, tuple(FAMILIES))
    return FAMILIES[name]


def training_tokens(family: Family, *, seed: int, step: int, rows: int, demonstrations: int) -> Numbers:
    """The rows of a step, each of one hidden value: demonstrations and, as the last one, an answered question.

    Args:
        family: The family.
        seed: Of the run.
        step: The step's number.
        rows: How many.
        demonstrations: Of each row, before its question.
    """
    pairs = demonstrations + 1
    stream = Stream("lgbench", "in-context", family.name, "train", seed, step)
    hidden = np.broadcast_to(stream.below(family.values, rows)[:, None], (rows, pairs))
    questions = family.questions(stream, rows, pairs)
    return family.tokens(questions, family.solve(questions, hidden))
