"""Pools of examples that the hooks of a run fill, and the checks of every example that a user gives."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from lgbench.data.cells import draw_cell, held_out_prompts
from lgbench.data.groups import Group
from lgbench.data.suites import Suite
from lgbench.data.task import Example, Stream
from lgbench.models.tokenizer import suite_vocabulary
from lgbench.training.changes import DataChange, PoolChange, Triple
from lgbench.util.errors import LgbenchError, UnknownNameError

GivenExample = Example | tuple[str, str, str]
"""An example as users give it: an `Example`, or its task, prompt and target."""
_LONGEST_NAME = 100


class Pools:
    """Examples of a group's tasks, by the names of the pools that they are in.

    Args:
        suite: The suite.
        group: The group that the run is of.
        filled_by: The changes that filled the pools before the run was interrupted.
        saved: What `state` gave then.

    Raises:
        LgbenchError: What was saved is not what the changes added.
    """

    def __init__(
        self, suite: Suite, group: Group, *, filled_by: Sequence[DataChange] = (), saved: Tensor | None = None
    ) -> None:
        self._suite, self._group = suite, group
        self._pools = _read(saved, filled_by)
        self._held_out: dict[str, frozenset[str]] = {}

    def add(self, name: str, examples: Iterable[GivenExample]) -> list[Triple]:
        """Add examples to a pool; gives them as they are kept.

        Raises:
            LgbenchError: One is not an example of the group's tasks, or has a prompt of the test or dev cells.
        """
        if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
            raise LgbenchError(f"{name!r:.150} is not a name of a pool, which has 1 to {_LONGEST_NAME} characters.")
        added = self.checked(examples, f"The pool {name!r}")
        if added:
            self._pools.setdefault(name, []).extend(added)
        return added

    def check_filled(self, name: str) -> None:
        """Refuse a pool that has no examples."""
        if name not in self._pools:
            raise LgbenchError(
                f"The pool {name!r} has no examples. Add some first: training.add_examples({name!r}, ...)."
            )

    def draw(self, name: str, words: Stream) -> Triple:
        """An example of a pool, uniformly drawn by the next word of a stream."""
        pool = self._pools[name]
        return pool[int(words.below(len(pool), 1)[0])]

    def state(self) -> Tensor | None:
        """What is in the pools, as bytes to be saved with the run; None where nothing is."""
        if not self._pools:
            return None
        text = json.dumps({name: [list(each) for each in pool] for name, pool in self._pools.items()})
        return torch.frombuffer(bytearray(text.encode("ascii")), dtype=torch.uint8)

    def held_out(self, task: str) -> frozenset[str]:
        """The prompts of a task that must not be trained on: those of its test and dev cells."""
        if task not in self._held_out:
            lengths = self._suite.grid(task)
            dev = (each.prompt for length in lengths for each in draw_cell(self._suite, task, length, split="dev"))
            test = (prompt for length in lengths for prompt in held_out_prompts(self._suite, task, length))
            self._held_out[task] = frozenset(dev).union(test)
        return self._held_out[task]

    def check_task(self, task: str, what: str) -> None:
        """Refuse a task that is not of the group.

        Args:
            task: Its name.
            what: What names it, for messages.
        """
        if task not in self._group.tasks:
            unknown = UnknownNameError(f"task of {self._group.name}", task, self._group.tasks)
            raise LgbenchError(f"{what} has a task that the run may not train on: {unknown}")

    def checked(self, examples: Iterable[GivenExample], what: str) -> list[Triple]:
        """Examples of a user's, ready to be trained on.

        Args:
            examples: As the user gave them.
            what: Where they are from, for messages.

        Raises:
            LgbenchError: One is not an example of the group's tasks, or has a prompt of the test or dev cells.
        """
        return [self._checked(each, what) for each in examples]

    def _checked(self, given: GivenExample, what: str) -> Triple:
        texts = (given.task, given.prompt, given.target) if isinstance(given, Example) else given
        if not isinstance(texts, tuple | list) or len(texts) != 3 or not all(isinstance(text, str) for text in texts):
            raise LgbenchError(
                f"{what} has {given!r:.100}. Give an Example, or a task, a prompt and a target: three texts."
            )
        triple = Triple(*texts)
        self.check_task(triple.task, what)
        for text in (triple.prompt, triple.target):
            suite_vocabulary(self._suite).encode(text)
        if triple.prompt in self.held_out(triple.task):
            raise LgbenchError(
                f"{what} has the prompt {triple.prompt[:80]!r} of {triple.task}, which is in a test or dev cell. Leave "
                f"out the prompts in training.held_out({triple.task!r})."
            )
        return triple


def _read(saved: Tensor | None, changes: Sequence[DataChange]) -> dict[str, list[Triple]]:
    """The pools that `Pools.state` gave.

    Raises:
        LgbenchError: They are not those that the changes filled.
    """
    pools: dict[str, list[Triple]] = {}
    try:
        if saved is not None:
            found = json.loads(saved.numpy().tobytes())
            pools = {name: [Triple(*map(str, each)) for each in pool] for name, pool in found.items()}
    except (ValueError, TypeError, AttributeError):
        pools = {}  # which the changes will not have filled so
    expected: dict[str, int] = {}
    for change in changes:
        if isinstance(change, PoolChange):
            expected[change.pool] = expected.get(change.pool, 0) + change.examples
    if {name: len(pool) for name, pool in pools.items()} != expected:
        raise LgbenchError(
            "The saved state does not hold the examples that a hook added. It is damaged: delete the folder and train "
            "again."
        )
    return pools
