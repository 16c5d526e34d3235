"""The vocabulary of the reference model, and how an example becomes a row of tokens.

A row is `<begin> <task> prompt target <end>`. The task's tag is what tells `reverse_add` from `no_carry`, whose prompts
look alike. A character is one token, except that a maze node such as `[17]` is one token.

The vocabulary follows from the suite. The published suites share one, whose numbers never change; a suite with tasks of
its own has one of its own, which its checkpoints record.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence
from functools import lru_cache

from lgbench.data.drafts import open_suite
from lgbench.data.suites import Suite
from lgbench.data.tasks.mazes import TOKENS as NODES
from lgbench.util.errors import LgbenchError

VOCABULARY_VERSION = 1
"""Raised whenever a token's number would change: weights of another version would read other text."""

PAD, BEGIN, END = 0, 1, 2
MARKS = ("<pad>", "<begin>", "<end>")
MOST_TOKENS = 256
"""A training example is kept as one byte a token."""
_FIRST_TASKS = (
    *("reverse_add", "no_carry", "carry_only", "reverse_subtract", "copy_first_op", "cot_multiply"),
    *("string_copy", "reverse", "capitalize", "capitalize_reverse", "mqar", "repeat_first"),
    *("shortest_path", "dfs_trace", "node_list"),
)
_PUNCTUATION = "+-*=,:?>"
_NODE = re.compile(r"\[[0-9]+\]")


class Vocabulary:
    """Tokens by number, and how text becomes tokens.

    Args:
        tokens: The text of each token: the three marks, then tags such as `<reverse>`, characters and longer texts.

    Attributes:
        tokens: The same.
        pattern: The regular expression that splits a text into tokens.
    """

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        self._number = {text: number for number, text in enumerate(self.tokens)}
        self._tag = {text[1:-1]: number for text, number in self._number.items() if is_tag(text) and number > END}
        long = [text for text in self.tokens[END + 1 :] if len(text) > 1 and not is_tag(text)]
        # One branch for all nodes: a branch for each of 64 would take as long as drawing the maze.
        nodes = [_NODE.pattern] if any(map(_NODE.fullmatch, long)) else []
        others = [re.escape(text) for text in sorted(long, key=len, reverse=True) if not _NODE.fullmatch(text)]
        self.pattern = "|".join([*others, *nodes, "."])
        self._split = re.compile(self.pattern, re.DOTALL).findall
        starts = {text[0] for text in long}
        self._start = starts.pop() if len(starts) == 1 else None
        self._is_of_characters = not long

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def tags(self) -> tuple[str, ...]:
        """The tasks that it has a tag of."""
        return tuple(self._tag)

    def encode(self, text: str) -> list[int]:
        """The token numbers of a prompt or a target.

        Raises:
            LgbenchError: A character that no task of the vocabulary uses.

        Examples:
            >>> [PUBLISHED.tokens[number] for number in PUBLISHED.encode("[2]:[10]=")]
            ['[2]', ':', '[10]', '=']
        """
        of_characters = self._is_of_characters or (self._start is not None and self._start not in text)
        pieces: Iterable[str] = text if of_characters else self._split(text)
        try:
            return list(map(self._number.__getitem__, pieces))
        except KeyError as error:
            raise LgbenchError(
                f"The reference model cannot read {error.args[0]!r} in {text[:60]!r}: its vocabulary has "
                f"{self._in_words()}. Ask it prompts of the suite only."
            ) from None

    def _in_words(self) -> str:
        if self.tokens[: len(PUBLISHED)] == PUBLISHED.tokens:
            return f"letters, digits, {_PUNCTUATION} and the maze nodes [1] to [64]"
        return " ".join(text for text in self.tokens[END + 1 :] if not is_tag(text))

    def encode_prompt(self, task: str, prompt: str) -> list[int]:
        """The start of a row, up to where the target begins: begin, the task's tag, the prompt."""
        return [BEGIN, self.task_tag(task), *self.encode(prompt)]

    def task_tag(self, task: str) -> int:
        """The number of a task's tag.

        Raises:
            LgbenchError: The vocabulary has no such task.
        """
        if task not in self._tag:
            raise LgbenchError(
                f"The model's vocabulary has no tag for the task {task!r}. It has: {', '.join(self._tag)}. Ask it one "
                "of these, or train a model on a suite with the task."
            )
        return self._tag[task]

    def decode(self, numbers: Sequence[int]) -> str:
        """The text of tokens. Marks and tags, which no right reply holds, appear as their names.

        Examples:
            >>> PUBLISHED.decode(PUBLISHED.encode("hEllO="))
            'hEllO='
        """
        return "".join(self.tokens[number] for number in numbers)


def is_tag(text: str) -> bool:
    """Whether a token is a mark or the tag of a task."""
    return len(text) > 2 and text[0] == "<" and text[-1] == ">"


PUBLISHED = Vocabulary(
    (
        *MARKS,
        *(f"<{task}>" for task in _FIRST_TASKS),
        *string.digits,
        *string.ascii_letters,
        *_PUNCTUATION,
        *NODES,
    )
)
"""The vocabulary of the published suites."""


def load_tokenizer(suite: str | Suite = "mini-v1") -> Vocabulary:
    """The vocabulary of a suite, by its name: what the reference model reads and writes.

    Raises:
        LgbenchError: There is no such suite, or its tasks need too many tokens.

    Examples:
        >>> load_tokenizer().encode_prompt("reverse", "ab=")
        [1, 10, 28, 29, 83]
    """
    return suite_vocabulary(open_suite(suite))


@lru_cache(maxsize=64)
def suite_vocabulary(suite: Suite) -> Vocabulary:
    """The published vocabulary where it has every task of the suite; else that of the suite's own tasks and domains.

    Raises:
        LgbenchError: It would have more than 256 tokens.
    """
    if all(task.name in _FIRST_TASKS for task in suite.tasks):
        return PUBLISHED
    tags = [f"<{task.name}>" for task in suite.tasks]
    texts = dict.fromkeys(text for task in suite.tasks for text in task.domain.vocabulary)
    tokens = (*MARKS, *tags, *texts)
    if len(tokens) > MOST_TOKENS:
        raise LgbenchError(
            f"The tasks of {suite.name} need {len(tokens)} tokens, but a model here has at most {MOST_TOKENS}. Give "
            "their domains smaller alphabets, or make a suite of fewer domains."
        )
    return Vocabulary(tokens)
