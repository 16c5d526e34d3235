"""Batches of token rows as tensors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Required, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor

from lgbench.data.mixtures import Mixture, Parts
from lgbench.data.stream import BLOCK_EXAMPLES
from lgbench.data.suites import Suite
from lgbench.training.rows import Row, row_blocks

IGNORED = -100
"""The label of a position that the loss leaves out."""


class Chunk(NamedTuple):
    """Rows of a batch, padded to the longest among them.

    Attributes:
        inputs: Tokens, int64, shape (rows, time).
        labels: For each input the token that follows, where that is a target's or the end; else `IGNORED`.
    """

    inputs: Tensor
    labels: Tensor


class Passing(TypedDict, total=False):
    """How batches are made of a stream: the arguments of `batches`."""

    size: Required[int]
    chunks: Required[int]
    workers: int
    multiple: int
    pinned: bool


class Batch(NamedTuple):
    """The examples of one step.

    Attributes:
        chunks: The batch in parts of similar length.
        tokens: Tokens without padding.
        target_tokens: Those that the loss is taken on.
    """

    chunks: list[Chunk]
    tokens: int
    target_tokens: int


def pad(rows: Sequence[Row], multiple: int = 1) -> Chunk:
    """Rows as tensors, right-padded to the longest of them, rounded up to a multiple. The pad token is number 0."""
    longest = max(len(row.tokens) for row in rows)
    time = 1 + -(-(longest - 1) // multiple) * multiple
    joined = b"".join(row.tokens.ljust(time, b"\0") for row in rows)
    tokens = np.frombuffer(joined, dtype=np.uint8).reshape(len(rows), time).astype(np.int64)
    starts = np.array([row.start for row in rows])[:, None]
    sizes = np.array([len(row.tokens) for row in rows])[:, None]
    position = np.arange(1, time)
    answered = (position >= starts) & (position < sizes)
    labels = np.where(answered, tokens[:, 1:], IGNORED)
    return Chunk(torch.from_numpy(tokens[:, :-1].copy()), torch.from_numpy(labels))


def mixture_batches(
    suite: Suite, mixture: Mixture, *, steps: int, start: int = 0, **passing: Unpack[Passing]
) -> Iterator[Batch]:
    """The batches of a run from step `start` to its end: of each stage those of its list's stream.

    A list that comes again goes on behind the examples that it had before.

    Args:
        suite: The suite.
        mixture: What the run trains on.
        steps: Of the whole run.
        start: The first step, from 0.
        passing: As for `batches`.
    """
    for parts, first, end, before in mixture.spans(steps):
        if start < end:
            begin = max(start, first)
            stream = batches(suite, parts, start=before + begin - first, **passing)
            yield from itertools.islice(stream, end - begin)


def batches(
    suite: Suite,
    parts: Parts,
    *,
    size: int,
    chunks: int,
    start: int = 0,
    workers: int = 0,
    multiple: int = 1,
    pinned: bool = False,
) -> Iterator[Batch]:
    """The endless batches of a list's stream: batch number n holds its examples n * size to (n + 1) * size - 1.

    Args:
        suite: The suite.
        parts: The list.
        size: Examples of a batch.
        chunks: Parts of similar length to pass a batch in.
        start: The number of the first batch.
        workers: Processes that draw and encode blocks ahead; 0 does it here. The batches do not depend on it.
        multiple: Chunks are padded to a multiple of this, for fewer shapes.
        pinned: Whether to lay the tensors in page-locked memory, from which CUDA copies while the processor goes on.
    """
    rows = stream_rows(suite, parts, start=start * size, workers=workers)
    while True:
        yield make_batch(list(itertools.islice(rows, size)), chunks, multiple=multiple, pinned=pinned)


def stream_rows(suite: Suite, parts: Parts, *, start: int, workers: int) -> Iterator[Row]:
    """The endless rows of a list's stream, from example number `start` on. Other arguments as for `batches`."""
    first, skip = divmod(start, BLOCK_EXAMPLES)
    blocks = row_blocks(suite, parts, first, workers)
    return itertools.islice(itertools.chain.from_iterable(blocks), skip, None)


def make_batch(rows: list[Row], chunks: int, *, multiple: int = 1, pinned: bool = False) -> Batch:
    """The batch of these rows. Other arguments as for `batches`."""
    tokens = sum(len(row.tokens) for row in rows)
    target_tokens = tokens - sum(row.start for row in rows)
    if chunks > 1:
        rows = sorted(rows, key=lambda row: len(row.tokens))
    part = -(-len(rows) // chunks)
    parts = [pad(rows[first : first + part], multiple) for first in range(0, len(rows), part)]
    if pinned:
        parts = [Chunk(*(tensor.pin_memory() for tensor in chunk)) for chunk in parts]
    return Batch(parts, tokens, target_tokens)
