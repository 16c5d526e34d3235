"""A trained module of ours as a model that is asked."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from lgbench.models.contract import CappedReply
from lgbench.models.decoding import Reader, greedy, make_reader
from lgbench.models.parallel import MOST_PARTS, in_parts
from lgbench.models.prompting import generation_cap
from lgbench.models.tokenizer import END, PUBLISHED, Vocabulary
from lgbench.models.transformer import Transformer

# Parameters. Below so many, cores that share an operation wait for each other longer than they work.
_WORTH_THREADS = 5_000_000


class CheckpointPredictor:
    """A trained module that answers prompts by greedy decoding.

    Prompts whose tokens are equally many are decoded together, without padding. In float32 the replies of a reference
    model do not depend on which prompts share a batch.

    Args:
        module: The trained module.
        device: Where it runs.
        vocabulary: The tokens that it reads and writes.
    """

    batch_size = 256

    def __init__(self, module: nn.Module, *, device: str = "cpu", vocabulary: Vocabulary = PUBLISHED) -> None:
        self._vocabulary = vocabulary
        self._module = module.to(device).eval()
        self.device = device
        self.parameters = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
        small = self.parameters < _WORTH_THREADS
        # A user's module may keep state between calls, so that two threads must not share it.
        split = small and device == "cpu" and isinstance(module, Transformer)
        self._readers = [
            make_reader(self._module) for _ in range(min(torch.get_num_threads(), MOST_PARTS) if split else 1)
        ]
        self._threads = len(self._readers) if small else torch.get_num_threads()

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        """Reply to prompts of one task. A reply that the cap of 4 * len(prompt) + 32 tokens ended is a `CappedReply`.

        Raises:
            LgbenchError: A prompt or a task that the vocabulary lacks.
        """
        # Grouped by cap too, which counts characters.
        by_size: dict[tuple[int, int], list[int]] = {}
        rows = [self._vocabulary.encode_prompt(task, prompt) for prompt in prompts]
        for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            by_size.setdefault((len(row), generation_cap(prompt)), []).append(index)
        replies: dict[int, str] = {}
        for (_, cap), indices in by_size.items():
            workers = [partial(self._write, reader, cap) for reader in self._readers]
            written = in_parts([rows[index] for index in indices], workers, threads=self._threads)
            replies |= zip(indices, map(self._reply, written), strict=True)
        return [replies[index] for index in range(len(prompts))]

    def _write(self, reader: Reader, cap: int, rows: Sequence[list[int]], give_up: threading.Event) -> list[list[int]]:
        return greedy(reader, torch.tensor(rows, device=self.device), cap, give_up=give_up)

    def _reply(self, tokens: list[int]) -> str:
        decode = self._vocabulary.decode
        return decode(tokens[:-1]) if tokens[-1] == END else CappedReply(decode(tokens))
