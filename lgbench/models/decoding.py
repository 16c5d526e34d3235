"""Greedy decoding of a batch of rows of equal length."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from lgbench.models.incremental import (
    IncrementalModule,
    as_incremental,
    check_steps,
    check_written,
    keep_rows,
    margin,
    take_step,
)
from lgbench.models.tokenizer import END
from lgbench.models.transformer import KeyValueCache, Transformer
from lgbench.util.errors import LgbenchError

# Logits computed at different batch sizes differ by rounding, about 1e-6 of their size in float32. Two best tokens
# nearer than this are told apart in double precision, row by row, so that batching never decides.
_NEAR_TIE = 1e-4


class Reader(Protocol):
    """Gives the next tokens of a batch of rows, asked again and again as they grow.

    Attributes:
        last: The logits by which it chose last, shape (batch, vocabulary).
    """

    last: Tensor

    def begin(self, prompts: Tensor) -> None:
        """Another batch follows, of these rows, shape (batch, time)."""

    def next_tokens(self, sequences: Tensor) -> Tensor:
        """The likeliest next token of every row, shape (batch,), from rows that are one token longer each time."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Only these rows, shape (kept,), go on."""

    def end(self, prompts: Tensor, written: Sequence[list[int]]) -> None:
        """The batch is at its end; this was written after each prompt."""


def make_reader(module: nn.Module) -> Reader:
    """The reader for a module from int64 tokens (batch, time) to logits (batch, time, vocabulary), in evaluation mode.

    A `Transformer` reads every token once, through a key-value cache, and so does a module that offers `step`
    (`lgbench.models.incremental`). Any other module reads the whole row again for each token.
    """
    if isinstance(module, Transformer):
        return _CachedReader(module)
    return _SteppingReader(module) if as_incremental(module) is not None else _PlainReader(module)


@torch.inference_mode()
def greedy(
    reader: Reader,
    prompts: Tensor,
    cap: int,
    *,
    give_up: threading.Event | None = None,
    on_token: Callable[[Sequence[int], Tensor, Tensor], None] | None = None,
) -> list[list[int]]:
    """The tokens that follow each row, the likeliest each time, up to and with the end token.

    Rows leave the batch when they end.

    Args:
        reader: Of the module that writes.
        prompts: Rows of equal length without padding, int64, shape (batch, time).
        cap: The most tokens to write. A row without an end token was stopped by it.
        give_up: Once it is set, rows end at the next token.
        on_token: Called with the rows that are still written, the logits of their next token, shape (rows, vocabulary),
            and the token chosen, shape (rows,).

    Raises:
        LgbenchError: The module's logits have another shape or are not numbers, or its `step` differs from `forward`.
    """
    written: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))
    reader.begin(prompts)
    sequences = prompts
    for _ in range(cap):
        chosen = reader.next_tokens(sequences)
        if on_token is not None:
            on_token(rows, reader.last, chosen)
        for row, token in zip(rows, chosen.tolist(), strict=True):
            written[row].append(token)
        sequences = torch.cat((sequences, chosen[:, None]), dim=1)
        going = (chosen != END).nonzero()[:, 0]
        if len(going) < len(rows):
            rows = [rows[index] for index in going.tolist()]
            sequences = sequences[going]
            reader.keep(going)
        if not rows or (give_up is not None and give_up.is_set()):
            break
    reader.end(prompts, written)
    return written


class _PlainReader:
    """Asks a module for the next token of whole rows."""

    last: Tensor

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def begin(self, prompts: Tensor) -> None:
        """Nothing is remembered of any row."""

    def next_tokens(self, sequences: Tensor) -> Tensor:
        logits: object = self._module(sequences)
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != sequences.shape:
            given = f"shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
            raise LgbenchError(
                f"The module, given tokens of shape {tuple(sequences.shape)}, returned {given}. It must return logits "
                "of shape (batch, time, vocabulary)."
            )
        self.last = _numbers(logits[:, -1], sequences)
        return self.last.argmax(dim=-1)

    def keep(self, rows: Tensor) -> None:
        """Nothing is remembered of any row."""

    def end(self, prompts: Tensor, written: Sequence[list[int]]) -> None:
        """There is nothing to check."""


class _SteppingReader:
    """Asks a module that offers `step` for the next token, giving it only what it has not read."""

    last: Tensor

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._plain = _PlainReader(module)
        self._checked = False
        self._state: Any = None
        self._read, self._batch = 0, 0

    def begin(self, prompts: Tensor) -> None:
        if not self._checked:
            check_steps(self._module, prompts)
            self._checked = True
        self._state, self._read, self._batch = None, 0, len(prompts)

    def next_tokens(self, sequences: Tensor) -> Tensor:
        logits, self._state = take_step(self._stepping, sequences[:, self._read :], self._state)
        self._read = sequences.shape[1]
        self.last = last = _numbers(logits[:, -1], sequences)
        chosen = last.argmax(dim=-1)
        near = _nearly_tied(last, margin(last))
        if len(near) > 0:
            chosen[near] = self._settle(sequences[near])
        return chosen

    def _settle(self, sequences: Tensor) -> Tensor:
        """The next token of rows by `forward`: of one that is nearly tied even then, read alone."""
        last: Tensor = self._module(sequences)[:, -1]
        chosen = last.argmax(dim=-1)
        for row in _nearly_tied(last, _NEAR_TIE * last.abs().amax(dim=-1)).tolist():
            chosen[row] = self._plain.next_tokens(sequences[row : row + 1])[0]
        return chosen

    @property
    def _stepping(self) -> IncrementalModule:
        return cast(IncrementalModule, self._module)

    def keep(self, rows: Tensor) -> None:
        self._state = keep_rows(self._stepping, self._state, rows, self._batch)
        self._batch = len(rows)

    def end(self, prompts: Tensor, written: Sequence[list[int]]) -> None:
        check_written(self._module, prompts, written)


def _numbers(last: Tensor, sequences: Tensor) -> Tensor:
    """The logits of the next token, if they are numbers."""
    if last.isnan().any():
        raise LgbenchError(f"The module's logits are not numbers (NaN), given {sequences.shape[1]} tokens.")
    return last


def _nearly_tied(last: Tensor, apart: Tensor) -> Tensor:
    """The rows whose two greatest logits, of shape (batch, vocabulary), are at most so far apart, shape (batch,)."""
    best = last.topk(2, dim=-1).values
    return (best[:, 0] - best[:, 1] <= apart).nonzero()[:, 0]


class _CachedReader:
    """Asks a transformer for the next token, giving it only what it has not read."""

    last: Tensor

    def __init__(self, module: Transformer) -> None:
        self._module = module
        self._cache = KeyValueCache(module.shape.layers)
        self._exact: Callable[[Tensor], Tensor] | None = None

    def begin(self, prompts: Tensor) -> None:
        # Few targets are longer than their prompt. Room that is never used costs time too.
        self._cache.begin(2 * prompts.shape[1])

    def next_tokens(self, sequences: Tensor) -> Tensor:
        self.last = logits = self._module(sequences[:, self._cache.length :], self._cache)[:, 0]
        best, chosen = logits.topk(2, dim=-1)
        near = best[:, 0] - best[:, 1] <= _NEAR_TIE * best.abs().amax(dim=-1)
        for row in near.nonzero()[:, 0].tolist():
            chosen[row, 0] = self._settle(sequences[row])
        best_token: Tensor = chosen[:, 0].contiguous()
        return best_token

    def _settle(self, sequence: Tensor) -> int:
        if self._exact is None:
            self._exact = copy.deepcopy(self._module).double()
        return int(self._exact(sequence[None])[0, -1].argmax())

    def keep(self, rows: Tensor) -> None:
        self._cache.keep(rows)

    def end(self, prompts: Tensor, written: Sequence[list[int]]) -> None:
        """There is nothing to check."""
