"""Where a task's target comes from: the characters of the prompt that each character of the target depends on.

Known for tasks that write a text of the prompt in some order, and for sums and differences, whose digit in a column
depends on the two digits of that column (and on a carry, which is not counted).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lgbench.data.task import Task
from lgbench.util.errors import LgbenchError

Sources = list[tuple[int, ...]]
"""For each character of the target the places of its sources in the prompt, from 0; empty where it has none."""


def _forwards(prompt: str) -> Sources:
    return [(at,) for at in range(prompt.index("="))]


def _backwards(prompt: str) -> Sources:
    return _forwards(prompt)[::-1]


def _first(prompt: str) -> Sources:
    return [(0,)] * prompt.index("=")


def _after_the_query(prompt: str) -> Sources:
    text, query = prompt.split("=")
    return [(at,) for at in range(text.index(query) + len(query), len(text))]


def _first_operand(prompt: str) -> Sources:
    return [(at,) for at in range(re.search(r"[+-]", prompt).start())]  # type: ignore[union-attr]


def _columns(prompt: str) -> Sources:
    """The digits of each column, and none for the digit that only a carry can make."""
    first, second = re.split(r"[+-]", prompt.removesuffix("="))
    starts = ((0, len(first)), (len(first) + 1, len(second)))
    longest = max(len(first), len(second))
    return [*(tuple(start + at for start, size in starts if at < size) for at in range(longest)), ()]


def _column_before(prompt: str) -> Sources:
    """A carry comes out of the column before."""
    return [(), *_columns(prompt)[:-1]]


_KNOWN: Mapping[str, Callable[[str], Sources]] = {
    "string_copy": _forwards,
    "capitalize": _forwards,
    "reverse": _backwards,
    "capitalize_reverse": _backwards,
    "repeat_first": _first,
    "mqar": _after_the_query,
    "copy_first_op": _first_operand,
    "reverse_add": _columns,
    "no_carry": _columns,
    "reverse_subtract": _columns,
    "carry_only": _column_before,
}


def has_sources(task: str) -> bool:
    """Whether the sources of a task are known."""
    return task in _KNOWN


def sources_of(task: str, prompt: str) -> Sources:
    """The sources of each character of the target.

    Args:
        task: One of which they are known.
        prompt: A prompt of it.

    Examples:
        >>> sources_of("reverse", "abc=")
        [(2,), (1,), (0,)]
        >>> sources_of("no_carry", "12+30=")
        [(0, 3), (1, 4), ()]
        >>> sources_of("mqar", "hEkqOwZ=kq")
        [(4,), (5,), (6,)]
    """
    return _KNOWN[task](prompt)


def target_of(task: Task, prompt: str) -> str:
    """The target of a prompt that a user wrote.

    Raises:
        LgbenchError: It is not a prompt of the task.
    """
    refused = LgbenchError(f"{prompt!r:.80} is not a prompt of {task.name}. One is {task.example!r}.")
    if has_sources(task.name) and _form(prompt) != _form(task.example):
        raise refused
    try:
        target = task.solve(prompt)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise refused from None
    if not target:
        raise refused
    return target


def _form(prompt: str) -> str:
    """A prompt with runs of letters and of digits as one character each."""
    return re.sub(r"[0-9]+", "0", re.sub(r"[A-Za-z]+", "a", prompt))
