"""Classifies the first error of a wrong reply, by task, for tables and pictures alike.

A symbol is a character, except that a maze node such as `[17]` is one. `lgbench.doctor.diagnosis` classifies whole
replies (empty, right but for a newline, ...).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Literal, NamedTuple

from lgbench.data.task import Task
from lgbench.data.tasks.mazes import parse

END = ""
"""The symbol that represents the end of a text."""
_SYMBOL = re.compile(r"\[[0-9]+\]|.", re.DOTALL)

Ending = Literal["empty", "early", "early_wrong", "same_length", "late", "late_wrong"]
ENDINGS: Mapping[Ending, str] = {
    "empty": "no text at all",
    "early": "the beginning of the target, and no more",
    "early_wrong": "shorter than the target, and wrong before its end",
    "same_length": "as long as the target",
    "late": "the target, and more",
    "late_wrong": "longer than the target, and wrong before its end",
}
"""How a wrong reply ends. `empty`, `early` and `late` are the counts of these names in a result."""

KINDS: Mapping[str, str] = {
    "stops": "ends where the target continues",
    "continues": "continues where the target ends",
    "jump": "continues with what follows another occurrence of the letter before",
    "case": "the right letter in the other case",
    "swap": "this letter and the next are exchanged",
    "skip": "a letter is left out",
    "repeat": "the letter before, once more",
    "other_letter": "another letter of the input",
    "missed_carry": "the digit without the carry (or borrow) that comes in",
    "false_carry": "the digit with a carry (or borrow) that does not come in",
    "off_by_one": "a digit next to the right one, and no carry explains it",
    "other_digit": "any other digit",
    "wrong_start": "does not begin at START",
    "illegal_move": "a node that is not joined to the one before",
    "wrong_branch": "a node that is joined to the one before, but not the right one",
    "other_node": "another node of the maze",
    "foreign": "a symbol that does not belong into the answer",
}
"""What the first wrong symbol of a reply is. The first that fits, in the order of the task's family."""


class FirstError(NamedTuple):
    """Where a reply first differs from its target, and how.

    Attributes:
        position: In symbols, from 0.
        wanted: The target's symbol there; `END` where it ends.
        got: The reply's.
        kind: One of `KINDS`.
        behind_repeat: Whether the symbol before occurs more than once in the text that the task reads in order, so that
            a model which looks up what follows it can err; None for tasks that do not read a text in order.
    """

    position: int
    wanted: str
    got: str
    kind: str
    behind_repeat: bool | None

    @property
    def off_by_one(self) -> bool:
        """Whether both symbols are digits, next to each other (9 and 0 are)."""
        if len(self.wanted) != 1 or len(self.got) != 1 or not (self.wanted + self.got).isascii():
            return False
        return self.wanted.isdigit() and self.got.isdigit() and (int(self.got) - int(self.wanted)) % 10 in (1, 9)


class Read(NamedTuple):
    """The text that a task writes in order.

    Attributes:
        text: Its symbols, as the task would write them.
        start: Where the target begins in it; the target is the rest.
    """

    text: Sequence[str]
    start: int


def symbols(text: str) -> list[str]:
    """The symbols of a text.

    Examples:
        >>> symbols("[2][10]a")
        ['[2]', '[10]', 'a']
    """
    return _SYMBOL.findall(text)


def ending_of(reply: str, target: str) -> Ending:
    """How a wrong reply ends. Lengths are counted in symbols."""
    if not reply:
        return "empty"
    if target.startswith(reply):
        return "early"
    if reply.startswith(target):
        return "late"
    got, wanted = len(symbols(reply)), len(symbols(target))
    if got == wanted:
        return "same_length"
    return "early_wrong" if got < wanted else "late_wrong"


def first_error(task: Task, prompt: str, target: str, reply: str) -> FirstError:
    """Where a wrong reply first differs from its target, and how.

    Args:
        task: The task; of one that lgbench does not publish, only `foreign` and the end are distinguished.
        prompt: A prompt of the task.
        target: Its target.
        reply: Another text.

    Raises:
        ValueError: The reply is right.
    """
    wanted, got = symbols(target), symbols(reply)
    pairs = enumerate(zip_longest(wanted, got, fillvalue=END))
    at = next((number for number, (one, other) in pairs if one != other), None)
    if at is None:
        raise ValueError("the reply is right")
    here, there = (text[at] if at < len(text) else END for text in (wanted, got))
    read = _READ[task.name](prompt) if task.name in _READ else None
    behind = read is not None and at > 0 and len(_occurrences(read, at)) > 0
    kind = _kind(task, prompt, wanted, got, at, read)
    return FirstError(at, here, there, kind, None if read is None else behind)


def _kind(task: Task, prompt: str, wanted: list[str], got: list[str], at: int, read: Read | None) -> str:
    if read is not None and at > 0 and _jumps(read, at, got[at] if at < len(got) else END):
        return "jump"
    if at >= len(got):
        return "stops"
    if at >= len(wanted):
        return "continues"
    if task.name in _DIGITS:
        return _digit_kind(task.name, prompt, wanted[at], got[at], at)
    if task.walk is not None and "?" in prompt:
        return _walk_kind(prompt, got, at)
    if read is not None:
        return _letter_kind(read.text, wanted, got, at)
    if task.name == "node_list":
        return "other_node" if got[at] in parse(prompt).neighbours else "foreign"
    if task.name == "cot_multiply":
        return _plain_digit_kind(wanted[at], got[at])
    return "other_letter" if got[at].isalpha() and got[at] in prompt else "foreign"


# ---- texts that a task reads in order


def _forwards(prompt: str) -> Read:
    return Read(prompt.removesuffix("="), 0)


def _backwards(prompt: str) -> Read:
    return Read(prompt.removesuffix("=")[::-1], 0)


def _recalled(prompt: str) -> Read:
    text, query = prompt.split("=")
    return Read(text, text.index(query) + len(query))


_READ: Mapping[str, Callable[[str], Read]] = {
    "string_copy": _forwards,
    "reverse": _backwards,
    "capitalize": lambda prompt: Read(_forwards(prompt.swapcase()).text, 0),
    "capitalize_reverse": lambda prompt: Read(_backwards(prompt.swapcase()).text, 0),
    "mqar": _recalled,
    "copy_first_op": lambda prompt: Read(prompt.split("+")[0], 0),
}


def reads_in_order(task: str) -> bool:
    """Whether a task writes a text of its prompt in order, so that a look-up can jump to another occurrence."""
    return task in _READ


def _occurrences(read: Read, at: int) -> list[int]:
    """The other places in the text of the symbol before position `at` of the target."""
    before = read.start + at - 1
    return [place for place, each in enumerate(read.text) if each == read.text[before] and place != before]


def _jumps(read: Read, at: int, got: str) -> bool:
    """Whether a symbol, or the end, is what follows another occurrence of the symbol before."""
    following = (read.text[place + 1 : place + 2] for place in _occurrences(read, at))
    return any("".join(each) == got for each in following)


def _letter_kind(text: Sequence[str], wanted: list[str], got: list[str], at: int) -> str:
    here = got[at]
    if here == wanted[at].swapcase():
        return "case"
    if at + 1 < len(wanted) and here == wanted[at + 1]:
        return "swap" if got[at + 1 : at + 2] == [wanted[at]] else "skip"
    if at > 0 and here == wanted[at - 1]:
        return "repeat"
    return "other_letter" if here in text or here.swapcase() in text else "foreign"


# ---- digit by digit


class Column(NamedTuple):
    """A digit position of a sum or a difference.

    Attributes:
        first: The first operand's digit, 0 beyond its end.
        second: The second one's.
        carry: The incoming carry, 0 or 1; in a difference, the borrow.
        chain: The length of the carry chain: 1 if the position before makes the carry, one more for each position that
            propagates it; 0 without a carry.
    """

    first: int
    second: int
    carry: int
    chain: int


def columns(prompt: str) -> list[Column]:
    """The digit positions of a sum or difference, least significant first, and one for what comes out of the last.

    Examples:
        >>> [(each.carry, each.chain) for each in columns("55+54=")]  # 55 + 45 = 100
        [(0, 0), (1, 1), (1, 2)]
    """
    minus = "-" in prompt
    first, second = prompt.removesuffix("=").split("-" if minus else "+")
    carry = chain = 0
    found = []
    for a, b in [*zip_longest(map(int, first), map(int, second), fillvalue=0), (0, 0)]:
        found.append(Column(a, b, carry, chain))
        made, handed_on = (a < b, a == b) if minus else (a + b > 9, a + b == 9)
        chain = 1 if made else chain + 1 if handed_on and carry else 0
        carry = int(chain > 0)
    return found


def _digit_kind(task: str, prompt: str, wanted: str, got: str, at: int) -> str:
    if not (got.isascii() and got.isdigit()):
        return "foreign"
    column = columns(prompt)[at]
    comes_in = 0 if task == "no_carry" else column.carry
    if got == _DIGITS[task](column._replace(carry=1 - comes_in)):
        return "missed_carry" if comes_in else "false_carry"
    return _plain_digit_kind(wanted, got)


def _plain_digit_kind(wanted: str, got: str) -> str:
    if not (wanted + got).isascii() or not (wanted + got).isdigit():
        return "foreign"
    return "off_by_one" if (int(got) - int(wanted)) % 10 in (1, 9) else "other_digit"


_DIGITS: Mapping[str, Callable[[Column], str]] = {
    "reverse_add": lambda each: str((each.first + each.second + each.carry) % 10),
    "reverse_subtract": lambda each: str((each.first - each.second - each.carry) % 10),
    "no_carry": lambda each: str((each.first + each.second + each.carry) % 10),
    "carry_only": lambda each: str(each.carry),
}
"""The digit that a task writes for a column; of `no_carry`, which drops all carries, where `carry` is 0."""
WITH_CARRIES = ("reverse_add", "carry_only", "reverse_subtract")
"""The tasks whose digits depend on carries or borrows."""


# ---- mazes


def _walk_kind(prompt: str, got: list[str], at: int) -> str:
    maze = parse(prompt)
    if got[at] not in maze.neighbours:
        return "foreign"
    if at == 0:
        return "wrong_start"
    return "wrong_branch" if got[at] in maze.neighbours[got[at - 1]] else "illegal_move"
