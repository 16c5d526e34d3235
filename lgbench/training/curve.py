"""Exact match during training, on the `dev` split, which shares no prompt with test or training."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from lgbench.data.cells import draw_cell
from lgbench.data.groups import Group
from lgbench.data.suites import Cell, Suite
from lgbench.models.prompting import generation_cap
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.batching import IGNORED, Chunk, pad
from lgbench.training.rows import encode_row


class DevSet:
    """The dev cells of some of a group's tasks, at every length of its grid, as tensors.

    Args:
        suite: The suite.
        group: The group.
        tasks: Names of its tasks.
        device: Where the tensors lie.

    Attributes:
        longest: The most tokens that evaluation can make of a row: a prompt and a reply up to its cap.
        longest_row: The most tokens that a prompt has with its target.
    """

    def __init__(self, suite: Suite, group: Group, tasks: Collection[str], *, device: str) -> None:
        self._chunks: dict[Cell, Chunk] = {}
        self.longest = self.longest_row = 0
        vocabulary = suite_vocabulary(suite)
        for cell in suite.cells(groups=[group.name]):
            if cell.task not in tasks:
                continue
            examples = draw_cell(suite, *cell, split="dev")
            rows = [encode_row(vocabulary, example) for example in examples]
            ends = (row.start + generation_cap(each.prompt) for row, each in zip(rows, examples, strict=True))
            self.longest = max(self.longest, *ends)
            self.longest_row = max(self.longest_row, *(len(row.tokens) for row in rows))
            inputs, labels = pad(rows)
            self._chunks[cell] = Chunk(inputs.to(device), labels.to(device))

    @torch.no_grad()  # not inference mode: what a module keeps of it for later could not be trained with
    def correct(self, module: nn.Module, *, at_once: int) -> dict[str, dict[int, int]]:
        """Of the 64 examples of each cell, how many greedy decoding gets right: by task, then length.

        Greedy decoding writes the target if and only if, given the target so far, each next token is the likeliest one;
        so one pass over prompt and target decides.

        Args:
            module: The module.
            at_once: Examples of a pass, at most. What a step has room for will do: the logits of a large vocabulary are
                gigabytes.
        """
        was_training = module.training
        module.eval()
        counts: dict[str, dict[int, int]] = {}
        for (task, length), chunk in self._chunks.items():
            parts = zip(torch.split(chunk.inputs, at_once), torch.split(chunk.labels, at_once), strict=True)
            right = sum(exact_matches(module(inputs), labels).sum() for inputs, labels in parts)
            counts.setdefault(task, {})[length] = int(right)
        module.train(was_training)
        return counts


def exact_matches(logits: Tensor, labels: Tensor) -> Tensor:
    """Which rows predict all their labels, bool, shape (rows,).

    Args:
        logits: Shape (rows, time, vocabulary).
        labels: Shape (rows, time), `IGNORED` where nothing is asked.
    """
    return ((logits.argmax(dim=-1) == labels) | (labels == IGNORED)).all(dim=1)
