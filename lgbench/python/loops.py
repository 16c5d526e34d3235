"""What a training loop of your own needs: tokens, batches, an `IterableDataset`, and a greedy decoder.

docs/python.md shows them together. Loading this module needs PyTorch, and says so where it is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

from lgbench.util.extras import require_extra

require_extra("torch", purpose="A training loop of your own")

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset, get_worker_info

from lgbench.data.drafts import open_suite
from lgbench.data.stream import BLOCK_EXAMPLES, TrainingData, stage_parts
from lgbench.data.suites import Suite
from lgbench.data.task import Example
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.decoding import greedy, make_reader
from lgbench.models.devices import choose_device
from lgbench.models.loaded import Model
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.results.schema import MAX_TEXT, SystemInfo
from lgbench.training.batching import Chunk, batches, pad
from lgbench.training.modules import check_module
from lgbench.training.rows import encode_row
from lgbench.util.errors import LgbenchError


class Collate:
    """Makes a batch of examples: a `collate_fn` for PyTorch's `DataLoader`.

    Args:
        suite: A suite or its name, whose vocabulary is used.
        multiple: The batch is padded to a multiple of this many tokens, for fewer shapes.
    """

    def __init__(self, suite: str | Suite = "mini-v1", *, multiple: int = 1) -> None:
        if multiple < 1:
            raise LgbenchError(f"multiple={multiple} must be 1 or more.")
        self._suite, self._multiple = open_suite(suite), multiple

    def __call__(self, examples: Sequence[Example]) -> Chunk:
        """`inputs` and `labels` of a batch, both int64 of shape (examples, time).

        A label is the token that follows, where that is a target's or the end, else -100, which
        `torch.nn.functional.cross_entropy` leaves out. Rows are padded on the right with token 0.

        Raises:
            LgbenchError: There is no example, or a character that the vocabulary lacks.
        """
        if not examples:
            raise LgbenchError("A batch needs at least one example.")
        vocabulary = suite_vocabulary(self._suite)
        return pad([encode_row(vocabulary, example) for example in examples], self._multiple)


class TrainingExamples(IterableDataset[Example]):
    """The training examples of an arm, for PyTorch's `DataLoader`.

    The stream comes in blocks of 8192 examples, and a block depends on its number alone. Of W workers, each draws every
    W-th block and nothing else, so the examples are the same whatever W is, and no work is done twice. Alone, or with
    one worker, they come in the published order. With more, the loader takes its batches from W blocks in turn;
    `training_batches` keeps the order with any number of workers.

    Args:
        suite: A suite or its name.
        group: A group of the suite.
        arm: A trained arm of the group.
        stage: Of an arm that trains in stages, the number of the stage whose list is drawn, from 1.
        start: The number of the first example.
        examples: How many; None for an endless stream.
        shard: Which share of the blocks this process draws, from 0: its rank, where several processes train together.
        of: How many shares there are.

    Raises:
        UnknownNameError: No such suite, group or arm.
        LgbenchError: A number out of range, or a stage that the arm does not have.
    """

    def __init__(
        self,
        suite: str | Suite,
        group: str,
        arm: str,
        *,
        stage: int | None = None,
        start: int = 0,
        examples: int | None = None,
        shard: int = 0,
        of: int = 1,
    ) -> None:
        super().__init__()
        if start < 0 or (examples is not None and examples < 0):
            raise LgbenchError(f"start={start} and examples={examples} must be 0 or more.")
        if not 0 <= shard < of:
            raise LgbenchError(f"shard={shard} of {of}: shards are numbered from 0, and there is at least one.")
        self._suite = open_suite(suite)
        self._parts = stage_parts(self._suite.group(group), arm, stage)
        self._first, self._end = start, None if examples is None else start + examples
        self._shard, self._of = shard, of

    def __iter__(self) -> Iterator[Example]:
        """The examples of this process's share, and in a loader's worker of the worker's."""
        worker = get_worker_info()
        workers, own = (1, 0) if worker is None else (worker.num_workers, worker.id)
        data = TrainingData(self._suite, self._parts)
        first = self._first // BLOCK_EXAMPLES
        for number in count(first + self._shard * workers + own, self._of * workers):
            begin = number * BLOCK_EXAMPLES
            if self._end is not None and begin >= self._end:
                return
            skip = max(self._first - begin, 0)
            keep = BLOCK_EXAMPLES if self._end is None else min(self._end - begin, BLOCK_EXAMPLES)
            yield from data.block(number)[skip:keep]


def training_batches(
    suite: str | Suite, group: str, arm: str, *, size: int, stage: int | None = None, start: int = 0, workers: int = 0
) -> Iterator[Chunk]:
    """The endless batches of an arm's stream in the published order: batch n holds its examples n * size onwards.

    Args:
        suite: A suite or its name.
        group: A group of the suite.
        arm: A trained arm of the group.
        size: Examples of a batch.
        stage: Of an arm that trains in stages, the number of the stage whose list is drawn, from 1.
        start: The number of the first batch.
        workers: Processes that draw and encode ahead; 0 does it here. The batches do not depend on it. Workers are
            spawned, so a script that asks for them needs the usual `if __name__ == "__main__":` guard.

    Returns:
        `inputs` and `labels` of each batch, as `Collate` makes them.

    Raises:
        UnknownNameError: No such suite, group or arm.
        LgbenchError: A number out of range, or a stage that the arm does not have.
    """
    if size < 1 or start < 0 or workers < 0:
        raise LgbenchError(f"size={size} must be 1 or more, start={start} and workers={workers} 0 or more.")
    opened = open_suite(suite)
    parts = stage_parts(opened.group(group), arm, stage)
    return (batch.chunks[0] for batch in batches(opened, parts, size=size, chunks=1, start=start, workers=workers))


def greedy_decode(module: nn.Module, prompts: Tensor, *, most: int) -> list[list[int]]:
    """The tokens that a module writes after each prompt, the likeliest each time, up to and with the end token.

    A module that offers `step` (docs/architectures.md) reads every token once, any other the whole row again for each
    token. The module is in evaluation mode meanwhile, and afterwards as it was.

    Args:
        module: From int64 tokens (batch, time) to logits (batch, time, vocabulary).
        prompts: Rows of equal length without padding, int64, shape (batch, time), where the module is.
        most: The most tokens to write. A row without an end token was stopped by it.

    Raises:
        LgbenchError: `prompts` has another shape or type, or the module's logits have another shape or are not numbers.
    """
    if not isinstance(prompts, Tensor) or prompts.ndim != 2 or prompts.dtype != torch.int64 or 0 in prompts.shape:
        given = f"{prompts.dtype} of shape {tuple(prompts.shape)}" if isinstance(prompts, Tensor) else type(prompts)
        raise LgbenchError(f"prompts must be int64 of shape (batch, time), with at least one token; given: {given}.")
    if most < 1:
        raise LgbenchError(f"most={most} must be 1 or more.")
    was_training = module.training
    module.eval()
    try:
        return greedy(make_reader(module), prompts, most)
    finally:
        module.train(was_training)


def wrap_module(module: nn.Module, *, suite: str | Suite = "mini-v1", device: str | None = None) -> Model:
    """A module as a model that `evaluate` takes: it replies by greedy decoding, to the cap of the benchmark.

    Args:
        module: From int64 tokens (batch, time) of the suite's vocabulary to logits (batch, time, vocabulary). It is put
            into evaluation mode.
        suite: A suite or its name, whose vocabulary the module was built for.
        device: `auto`, `cpu`, `cuda` or `cuda:N`; None leaves the module where it is.

    Raises:
        LgbenchError: The module does not map tokens to logits of this vocabulary.
        ModelError: The module raised.
    """
    if not isinstance(module, nn.Module):
        raise LgbenchError(f"wrap_module takes a torch.nn.Module, not {type(module).__name__}.")
    parameter = next(module.parameters(), None)
    here = "cpu" if parameter is None else str(parameter.device)
    place = here if device is None else choose_device(device)
    vocabulary = suite_vocabulary(open_suite(suite))
    check_module(module.to(place), device=place, vocabulary_size=len(vocabulary))
    predictor = CheckpointPredictor(module, device=place, vocabulary=vocabulary)
    kind = type(module)
    system = SystemInfo(
        model=f"{kind.__module__}.{kind.__qualname__}"[:MAX_TEXT], kind="object", parameters=predictor.parameters
    )
    return Model(predictor, system)
