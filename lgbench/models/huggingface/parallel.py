"""Decoding with a small model on several cores: parts of a batch side by side."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch

from lgbench.models.huggingface.decoding import Decoder, Row, Written
from lgbench.models.parallel import MOST_PARTS, in_parts

_SMALL = 100_000_000  # parameters; the weights of a larger model are better read once for all rows


class ParallelDecoder:
    """Cuts a batch into parts and decodes them at the same time.

    Args:
        decoders: One for each part. They may share weights, but no other state.
        threads: The cores to use, all parts together.
    """

    def __init__(self, decoders: Sequence[Decoder], *, threads: int) -> None:
        self._decoders = decoders
        self._threads = threads

    def __call__(self, rows: Sequence[Row]) -> list[Written]:
        """Continue each row."""
        return in_parts(rows, self._decoders, threads=self._threads)

    def each_alone(self, rows: Sequence[Row]) -> list[Written]:
        """Continue each row in a batch of its own."""
        workers = [_one_by_one(decoder) for decoder in self._decoders]
        return in_parts(rows, workers, threads=self._threads, least=1)


def _one_by_one(decoder: Decoder) -> Callable[[Sequence[Row], threading.Event], list[Written]]:
    return lambda rows, give_up: [written for row in rows for written in decoder([row], give_up)]


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
    try:
        others = [copy.deepcopy(model, dict(weights)) for _ in range(min(threads, MOST_PARTS) - 1)]
    except (TypeError, RuntimeError, NotImplementedError):  # code that came with the model may hold what has no copy
        return decoder
    decoders = [decoder, *(Decoder(other, ends=ends, pad=pad, stops=stops) for other in others)]
    return ParallelDecoder(decoders, threads=threads)
