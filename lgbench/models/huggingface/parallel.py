"""Decoding with a small model on several cores: parts of a batch side by side.

The operations of a small model are short. Cores that share each of them spend much of their time waiting for one
another, and far more where other programs use the cores too. Cores that have rows of their own meet once a batch.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Any

import torch

from lgbench.models.huggingface.decoding import Decoder, Row, Written

_SMALL = 100_000_000  # parameters; the weights of a larger model are better read once for all rows
_MOST_PARTS = 4  # more would wait for Python's interpreter lock
_LEAST_ROWS = 32  # in a part: fewer make poor use of a core


class ParallelDecoder:
    """Cuts a batch into parts and decodes them at the same time.

    Args:
        decoders: One for each part. They may share weights, but no other state.
        threads: The cores to use, all parts together.
    """

    def __init__(self, decoders: Sequence[Decoder], *, threads: int) -> None:
        self._decoders = decoders
        self._threads_each = max(1, threads // len(decoders))

    def __call__(self, rows: Sequence[Row]) -> list[Written]:
        """Continue each row."""
        size = max(_LEAST_ROWS, -(-len(rows) // len(self._decoders)))
        parts = [rows[start : start + size] for start in range(0, len(rows), size)]
        give_up = threading.Event()
        with _torch_threads(self._threads_each), ThreadPoolExecutor(len(parts)) as pool:
            pairs = zip(self._decoders, parts, strict=False)
            done = [pool.submit(decode, part, give_up=give_up) for decode, part in pairs]
            try:
                wait(done, return_when=FIRST_EXCEPTION)
            finally:  # all are done; or else one failed or Ctrl-C was pressed, and nobody wants what the others write
                give_up.set()
        return [written for part in done for written in part.result()]


def make_decoder(
    model: Any, *, ends: frozenset[int], pad: int, stops: Callable[[list[int]], bool] | None = None
) -> Decoder | ParallelDecoder:
    """The decoder that suits a model: a parallel one where it is small and on the CPU. Arguments as for `Decoder`."""
    decoder = Decoder(model, ends=ends, pad=pad, stops=stops)
    threads = torch.get_num_threads()
    if threads == 1 or model.device.type != "cpu" or model.num_parameters() > _SMALL or not decoder.stepwise:
        return decoder
    # Modules may keep state of their last call, so each part has modules of its own around the same weights.
    weights = {id(weight): weight for weight in model.parameters()}
    others = [copy.deepcopy(model, dict(weights)) for _ in range(min(threads, _MOST_PARTS) - 1)]
    decoders = [decoder, *(Decoder(other, ends=ends, pad=pad, stops=stops) for other in others)]
    return ParallelDecoder(decoders, threads=threads)


@contextlib.contextmanager
def _torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch use so many cores for one operation. Threads started inside take the number over."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
