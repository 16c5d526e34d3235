"""Layer 2: the fixed vocabulary of the reference model, and how an example becomes a row of tokens.

A row is `<begin> <task> prompt target <end>`. The task's tag is what tells `reverse_add` from `no_carry`, whose prompts
look alike. A character is one token, except that a maze node such as `[17]` is one token.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Sequence

from lgbench.errors import LgbenchError
from lgbench.tasks.mazes import TOKENS as NODES

VOCABULARY_VERSION = 1
"""Raised whenever a token's number would change: weights of another version would read other text."""

PAD, BEGIN, END = 0, 1, 2
_MARKS = ("<pad>", "<begin>", "<end>")
_FIRST_TASKS = (
    *("reverse_add", "no_carry", "carry_only", "reverse_subtract", "copy_first_op", "cot_multiply"),
    *("string_copy", "reverse", "capitalize", "capitalize_reverse", "mqar", "repeat_first"),
    *("shortest_path", "dfs_trace", "node_list"),
)
# Tags are only ever added at the end, so that every token keeps its number and older checkpoints remain usable.
_LATER_TASKS: tuple[str, ...] = ()
_PUNCTUATION = "+-*=,:?>"
VOCABULARY: tuple[str, ...] = (
    *_MARKS,
    *(f"<{task}>" for task in _FIRST_TASKS),
    *string.digits,
    *string.ascii_letters,
    *_PUNCTUATION,
    *NODES,
    *(f"<{task}>" for task in _LATER_TASKS),
)
"""The text of each token, by number. A checkpoint knows the tokens that there were when it was trained."""

_NUMBER = {text: number for number, text in enumerate(VOCABULARY)}
_TAG = {task: _NUMBER[f"<{task}>"] for task in (*_FIRST_TASKS, *_LATER_TASKS)}
_TOKEN = re.compile(r"\[[0-9]+\]|.", re.DOTALL)


def encode(text: str) -> list[int]:
    """The token numbers of a prompt or a target.

    Raises:
        LgbenchError: A character that no task uses.

    Examples:
        >>> [VOCABULARY[number] for number in encode("[2]:[10]=")]
        ['[2]', ':', '[10]', '=']
    """
    pieces: Iterable[str] = _TOKEN.findall(text) if "[" in text else text
    try:
        return [_NUMBER[piece] for piece in pieces]
    except KeyError as error:
        raise LgbenchError(
            f"The reference model cannot read {error.args[0]!r} in {text[:60]!r}: its vocabulary has letters, digits, "
            f"{_PUNCTUATION} and the maze nodes [1] to [64]. Ask it prompts of the suite only."
        ) from None


def encode_prompt(task: str, prompt: str) -> list[int]:
    """The start of a row, up to where the target begins: begin, the task's tag, the prompt."""
    return [BEGIN, task_tag(task), *encode(prompt)]


def task_tag(task: str) -> int:
    """The number of a task's tag.

    Raises:
        LgbenchError: The vocabulary has no such task.
    """
    if task not in _TAG:
        raise LgbenchError(
            f"The reference model has no tag for the task {task!r}. Valid: {', '.join(_TAG)}. A new task's name goes "
            "to the end of _LATER_TASKS in lgbench/models/tokenizer.py."
        )
    return _TAG[task]


def decode(numbers: Sequence[int]) -> str:
    """The text of tokens. Marks and tags, which no right reply holds, appear as their names.

    Examples:
        >>> decode(encode("hEllO="))
        'hEllO='
    """
    return "".join(VOCABULARY[number] for number in numbers)
