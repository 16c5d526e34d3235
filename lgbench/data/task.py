"""An example, a task, and the random streams that every example comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lgbench.util.errors import LgbenchError

# Part of what the data is: another size would draw other mazes.
SCALAR_CHUNK = 1024


class Example(NamedTuple):
    """One question of a task and its only right answer."""

    task: str
    length: int
    index: int  # type: ignore[assignment]  # the field hides tuple.index, which an example has no use for
    prompt: str
    target: str

    @property
    def id(self) -> str:
        """`{task}-{length}-{index}`: unique within a split of a suite."""
        return f"{self.task}-{self.length}-{self.index}"


class Stream:
    """The random 64-bit words that belong to one key.

    The key's parts are joined by `/`; the first 16 bytes of that text's SHA-256, read as a little-endian number, are
    the key of a Philox4x64-10 counter generator (Salmon et al., 2011). The first four words are its block at counter 1,
    as NumPy steps the counter before each block. NumPy promises to keep a bit generator's raw output across versions,
    which it does not promise for `Generator` methods; so every draw below is raw words and integer arithmetic.

    A bounded draw is `word % bound`. For the bounds used here (under 2**11) the bias is under 2**-53.

    Examples:
        >>> Stream("docs", 1).below(10, 5).tolist() == Stream("docs/1").below(10, 5).tolist()
        True
    """

    def __init__(self, *key: str | int) -> None:
        text = "/".join(map(str, key))
        digest = hashlib.sha256(text.encode()).digest()
        self._bits = np.random.Philox(key=int.from_bytes(digest[:16], "little"))

    def words(self, count: int) -> NDArray[np.uint64]:
        """The next `count` words, shape (count,)."""
        return np.asarray(self._bits.random_raw(count), dtype=np.uint64)

    def below(self, bound: int, count: int) -> NDArray[np.int64]:
        """`count` integers uniform in 0..bound-1, shape (count,)."""
        return (self.words(count) % bound).astype(np.int64)

    def one_by_one(self, bound: int | None = None) -> Iterator[int]:
        """Words one at a time, endlessly, each reduced modulo `bound` if given.

        Words leave the stream in chunks of 1024; what an abandoned iterator has left of its chunk is dropped.
        """
        while True:
            words = self.words(SCALAR_CHUNK)
            yield from (words if bound is None else words % bound).tolist()

    def permutation(self, size: int) -> NDArray[np.int64]:
        """The numbers 0..size-1 in uniformly random order: the stable sorting order of `size` words."""
        return np.argsort(self.words(size), kind="stable")


Sampler = Callable[[Stream, int, int], list[str]]
"""`sample(stream, length, count)` gives `count` prompts of exactly this length."""


class Walk(NamedTuple):
    """What a reply to a path task got right, beyond exact match."""

    valid_moves: bool
    right_endpoint: bool


Family = Literal["arithmetic", "strings", "mazes"]
"""Of training presets: which of them fits a domain."""


class Lengths(NamedTuple):
    """To which lengths the tasks of a group are trained, and at which they are evaluated.

    Attributes:
        main: The greatest training length of the main task.
        aux: That of the auxiliaries and of the control.
        grid: The evaluated lengths, ascending.
    """

    main: int
    aux: int
    grid: tuple[int, ...]


_USUAL_LENGTHS = Lengths(8, 16, tuple(range(2, 21, 2)))


@dataclass(frozen=True, kw_only=True)
class Domain:
    """What the tasks of a kind have in common: the text they are written in, and how long and how hard they are.

    Attributes:
        name: As in messages.
        alphabet: Every character that a prompt or a target may hold. Each is a token of the reference model.
        tokens: Texts of several characters that are one token each, such as a maze node `[17]`.
        preset: The family of training presets: `arithmetic`, `strings` or `mazes`.
        lengths: Of a group whose author names none.
    """

    name: str
    alphabet: str
    tokens: tuple[str, ...] = ()
    preset: Family = "strings"
    lengths: Lengths = _USUAL_LENGTHS

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The texts of all its tokens."""
        return (*self.alphabet, *self.tokens)


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task: how its prompts are drawn, and the one right reply to each.

    Attributes:
        name: The name in result files and on the command line.
        version: Raised whenever any example would change.
        domain: The text that it is written in.
        definition: What to reply, in one paragraph for instruction-following models.
        example: A prompt to show with it.
        sample: Draws prompts for test, dev and few-shot examples.
        solve: The target of a prompt. What it does with other text is undefined.
        train_sample: Draws prompts for training where they differ from `sample`'s (see `sampler`).
        min_length: The least length for which a prompt exists.
        max_length: The greatest, where there is one.
        walk: For path tasks, how a (prompt, reply) is diagnosed.
        second_route: Finds the target in another way than `solve`, which is held to it: by the tests, and when a draft
            suite is opened.
    """

    name: str
    version: int
    domain: Domain
    definition: str
    example: str
    sample: Sampler
    solve: Callable[[str], str]
    train_sample: Sampler | None = None
    min_length: int = 1
    max_length: int | None = None
    walk: Callable[[str, str], Walk] | None = None
    second_route: Callable[[str], str] | None = None

    @property
    def instruction(self) -> str:
        """The definition and the worked example, for instruction-following models."""
        return f"{self.definition} Example: {self.example} gives {self.solve(self.example)}."

    def sampler(self, split: str) -> Sampler:
        """The sampler of a split: `train_sample` for `train` where the task has one, else `sample`."""
        return self.train_sample if split == "train" and self.train_sample else self.sample

    def check_length(self, length: int) -> None:
        """Refuse a length that no prompt has.

        Raises:
            LgbenchError: It is shorter than `min_length` or longer than `max_length`.
        """
        if length < self.min_length:
            raise LgbenchError(f"{self.name} has no prompts of length {length}; its shortest have {self.min_length}.")
        if self.max_length is not None and length > self.max_length:
            raise LgbenchError(f"{self.name} has no prompts of length {length}; its longest have {self.max_length}.")
