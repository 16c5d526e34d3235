"""Procedural data: simple rules on random symbols, as rows that look like those of a task.

Rules and numbers are those of Shinnick et al. (2025, arXiv 2505.22308) and their code, but for the lengths, which are
uniform from 2 on: a fixed length would teach positions. Dyck words have 16 kinds of brackets here. The
size of the automaton and its boundary are not published: here it is a ring.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

from lgbench.data.task import Stream
from lgbench.models.tokenizer import BEGIN, END, Vocabulary, is_tag
from lgbench.training.rows import Row
from lgbench.util.errors import LgbenchError

RuleName = Literal["identity", "reverse", "set", "sort", "union", "delete", "stack", "dyck", "dyck-shuffle", "eca-110"]
SAME_TASK: Mapping[str, str] = {"identity": "string_copy", "reverse": "reverse"}
"""Rules that are a task of lgbench."""
BRACKETS, DEEPEST = 16, 16
_OPEN, _OPEN_SHUFFLED, _PUSH = 0.49, 0.5, 0.75
SEPARATOR, POP = -1, -2
"""Numbers of the two marks in what a rule gives; symbols are numbered from 0."""


class Draw:
    """Random numbers from a stream, one at a time."""

    def __init__(self, *key: str | int) -> None:
        self._words: Iterator[int] = Stream(*key).one_by_one()

    def below(self, bound: int) -> int:
        """Uniform in 0..bound-1."""
        return next(self._words) % bound

    def chance(self, probability: float) -> bool:
        """Whether an event of this probability happens."""
        return (next(self._words) >> 11) * 2.0**-53 < probability

    def symbols(self, count: int, kinds: int) -> list[int]:
        """Independent uniform symbols."""
        return [self.below(kinds) for _ in range(count)]


class Text(NamedTuple):
    """The output of a rule: numbers of symbols, `SEPARATOR` and `POP`.

    Attributes:
        given: Up to where the answer begins; empty where every symbol is asked for.
        answer: What follows from it.
    """

    given: list[int]
    answer: list[int]


Rule = Callable[[Draw, int, int], Text]
"""From random numbers, a length and the number of kinds of symbols."""


def identity(draw: Draw, length: int, kinds: int) -> Text:
    """`abca=abca`: the symbols again."""
    symbols = draw.symbols(length, kinds)
    return Text([*symbols, SEPARATOR], symbols)


def reverse(draw: Draw, length: int, kinds: int) -> Text:
    """`abca=acba`: the symbols in reverse order."""
    symbols = draw.symbols(length, kinds)
    return Text([*symbols, SEPARATOR], symbols[::-1])


def distinct(draw: Draw, length: int, kinds: int) -> Text:
    """`abca=abc`: each symbol once, in order of first occurrence."""
    symbols = draw.symbols(length, kinds)
    return Text([*symbols, SEPARATOR], list(dict.fromkeys(symbols)))


def ascending(draw: Draw, length: int, kinds: int) -> Text:
    """`caba=aabc`: the symbols in the order of the vocabulary."""
    symbols = draw.symbols(length, kinds)
    return Text([*symbols, SEPARATOR], sorted(symbols))


def union(draw: Draw, length: int, kinds: int) -> Text:
    """`ab=bc=abc`: each symbol of two halves once, in order of first occurrence."""
    first = draw.symbols(length // 2, kinds)
    second = draw.symbols(length - length // 2, kinds)
    return Text([*first, SEPARATOR, *second, SEPARATOR], list(dict.fromkeys([*first, *second])))


def delete(draw: Draw, length: int, kinds: int) -> Text:
    """`abca=b=aca`: the symbols without the first of one kind; unchanged if there is none."""
    symbols, gone = draw.symbols(length, kinds), draw.below(kinds)
    left = list(symbols)
    if gone in left:
        left.remove(gone)
    return Text([*symbols, SEPARATOR, gone, SEPARATOR], left)


def stack(draw: Draw, length: int, kinds: int) -> Text:
    """`ab-c=ca`: the stack after pushes of symbols that are not on it and pops (`-`), the top first.

    With at most one symbol on the stack it is a push. In the first two thirds three quarters are pushes, then three
    quarters pops; the last is a pop where more than one is left.
    """
    operations: list[int] = []
    left: list[int] = []
    for number in range(length):
        likely = _PUSH if number < 2 * length / 3 else 1 - _PUSH
        pushes = len(left) <= 1 or (number < length - 1 and len(left) < kinds and draw.chance(likely))
        if pushes:
            free = [symbol for symbol in range(kinds) if symbol not in left]
            left.append(free[draw.below(len(free))])
            operations.append(left[-1])
        else:
            left.pop()
            operations.append(POP)
    return Text([*operations, SEPARATOR], left[::-1])


def dyck(draw: Draw, length: int, kinds: int) -> Text:
    """A word of brackets of several kinds that are closed in the reverse order; its length is even."""
    brackets = min(BRACKETS, kinds // 2)
    length += length % 2
    word: list[int] = []
    open_now: list[int] = []
    for left in range(length, 0, -1):
        if not open_now or (len(open_now) < left and draw.chance(_OPEN)):
            open_now.append(draw.below(brackets))
            word.append(open_now[-1])
        else:
            word.append(brackets + open_now.pop())
    return Text([], word)


def dyck_shuffle(draw: Draw, length: int, kinds: int) -> Text:
    """Brackets of several kinds that may close in any order, at most 16 open at a time; some may stay open."""
    brackets = min(BRACKETS, kinds // 2)
    word: list[int] = []
    open_now: list[int] = []
    for _ in range(length):
        if not open_now or (len(open_now) < DEEPEST and draw.chance(_OPEN_SHUFFLED)):
            open_now.append(draw.below(brackets))
            word.append(open_now[-1])
        else:
            kinds_open = sorted(set(open_now))
            closed = kinds_open[draw.below(len(kinds_open))]
            open_now.remove(closed)
            word.append(brackets + closed)
    return Text([], word)


def eca_110(draw: Draw, length: int, kinds: int) -> Text:
    """`0110=1110`: the next state of a ring of cells by rule 110; the first two symbols are 0 and 1."""
    cells = draw.symbols(length, 2)
    following = [
        (110 >> (4 * cells[place - 1] + 2 * cells[place] + cells[(place + 1) % length])) & 1 for place in range(length)
    ]
    return Text([*cells, SEPARATOR], following)


RULES: Mapping[RuleName, Rule] = {
    "identity": identity,
    "reverse": reverse,
    "set": distinct,
    "sort": ascending,
    "union": union,
    "delete": delete,
    "stack": stack,
    "dyck": dyck,
    "dyck-shuffle": dyck_shuffle,
    "eca-110": eca_110,
}


class Alphabet(NamedTuple):
    """The tokens of a vocabulary that rules are written in.

    Attributes:
        symbols: Token numbers of letters and digits; of other vocabularies, all texts but two.
        separator: The token of `SEPARATOR`.
        pop: That of `POP`.
    """

    symbols: tuple[int, ...]
    separator: int
    pop: int

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> Alphabet:
        """Of a vocabulary.

        Raises:
            LgbenchError: It has too few tokens.
        """
        texts = {text: number for number, text in enumerate(vocabulary.tokens) if number > END and not is_tag(text)}
        if {"=", "-"} <= texts.keys():
            plain = [number for text, number in texts.items() if len(text) == 1 and text.isalnum()]
            separator, pop = texts["="], texts["-"]
        else:
            *plain, separator, pop = texts.values() if len(texts) > 2 else (0, 0)
        if len(plain) < 4:
            raise LgbenchError("Procedural rules need a vocabulary of four symbols and two marks at least.")
        return cls(tuple(plain), separator, pop)

    @property
    def tokens(self) -> frozenset[int]:
        """Every token that a row may hold."""
        return frozenset((*self.symbols, self.separator, self.pop, BEGIN, END))

    def row(self, text: Text) -> Row:
        """The output of a rule as tokens, between begin and end, without a task tag."""
        marks = {SEPARATOR: self.separator, POP: self.pop}
        given, answer = ([marks[each] if each < 0 else self.symbols[each] for each in part] for part in text)
        return Row(bytes([BEGIN, *given, *answer, END]), 1 + len(given))


def rule_rows(rule: RuleName, alphabet: Alphabet, *, step: int, count: int, longest: int, shuffled: bool) -> list[Row]:
    """The rows of a step of pretraining. They depend on the arguments alone.

    Args:
        rule: The rule.
        alphabet: What it is written in.
        step: The step's number.
        count: Number of rows.
        longest: Lengths are uniform from 2 to this.
        shuffled: Whether the answer is shuffled, which keeps its symbols and removes the rule.
    """
    kinds = len(alphabet.symbols)
    draw = Draw("lgbench", "procedural", rule, longest, kinds, step)
    rows = []
    for _ in range(count):
        text = RULES[rule](draw, 2 + draw.below(longest - 1), kinds)
        if shuffled:
            text = text._replace(answer=_shuffled(text.answer, draw))
        rows.append(alphabet.row(text))
    return rows


def _shuffled(symbols: list[int], draw: Draw) -> list[int]:
    """Fisher and Yates's shuffle."""
    found = list(symbols)
    for last in range(len(found) - 1, 0, -1):
        other = draw.below(last + 1)
        found[last], found[other] = found[other], found[last]
    return found
