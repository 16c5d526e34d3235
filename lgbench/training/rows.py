"""The training stream of an arm as rows of tokens.

Apart from their batches, so that the processes that draw ahead need not load PyTorch, which is most of their memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from lgbench.data.mixtures import Parts
from lgbench.data.stream import training_blocks
from lgbench.data.suites import Suite
from lgbench.data.task import Example
from lgbench.models.tokenizer import END, Vocabulary, suite_vocabulary


class Row(NamedTuple):
    """One example as tokens.

    Attributes:
        tokens: One byte a token: begin, tag, prompt, target, end.
        start: Where the target begins.
    """

    tokens: bytes
    start: int


def encode_row(vocabulary: Vocabulary, example: Example) -> Row:
    """An example as a row of tokens."""
    prompt = vocabulary.encode_prompt(example.task, example.prompt)
    return Row(bytes([*prompt, *vocabulary.encode(example.target), END]), len(prompt))


def row_blocks(suite: Suite, parts: Parts, first: int, workers: int) -> Iterator[list[Row]]:
    """The endless blocks of a list's stream, in order: `training_blocks` as rows."""
    return training_blocks(suite, parts, partial(_rows, suite), first=first, workers=workers)


def _rows(suite: Suite, block: list[Example]) -> list[Row]:
    vocabulary = suite_vocabulary(suite)
    return [encode_row(vocabulary, example) for example in block]
