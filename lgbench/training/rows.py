"""Layer 4: the training stream of an arm as rows of tokens.

Apart from their batches, so that the processes that draw ahead need not load PyTorch, which is most of their memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

from lgbench.models.tokenizer import END, encode, encode_prompt
from lgbench.processes import drawn_ahead
from lgbench.suites import Arm, Suite
from lgbench.task import Example
from lgbench.training_data import TrainingData


class Row(NamedTuple):
    """One example as tokens.

    Attributes:
        tokens: One byte a token: begin, tag, prompt, target, end.
        start: Where the target begins.
    """

    tokens: bytes
    start: int


def encode_row(example: Example) -> Row:
    """An example as a row of tokens."""
    prompt = encode_prompt(example.task, example.prompt)
    return Row(bytes([*prompt, *encode(example.target), END]), len(prompt))


def row_blocks(suite: Suite, arm: Arm, first: int, workers: int) -> Iterator[list[Row]]:
    """The endless blocks of an arm's stream, in order.

    Args:
        suite: The suite.
        arm: What the arm trains on.
        first: The number of the first block.
        workers: Processes that draw and encode blocks ahead; 0 does it here. The rows do not depend on it.
    """
    if workers:
        return drawn_ahead(partial(_block, suite, arm), first=first, workers=workers)
    data = TrainingData(suite, arm)
    return ([encode_row(example) for example in data.block(number)] for number in itertools.count(first))


_worker_data = cache(TrainingData)


def _block(suite: Suite, arm: Arm, number: int) -> list[Row]:
    return [encode_row(example) for example in _worker_data(suite, arm).block(number)]
