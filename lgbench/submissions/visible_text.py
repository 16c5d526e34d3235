"""What text of a stranger may hold, so that a reader sees all of it and nothing else."""

from __future__ import annotations

import unicodedata

MOST_MARKS = 2
"""Combining marks in a row. Vietnamese written apart has two on a letter; a tower of them covers what is around it."""
# Control characters, surrogates, ends of lines; format characters (of no width, or that turn the direction of writing);
# characters whose meaning is private, or that are none yet.
_HIDDEN = frozenset({"Cc", "Cs", "Zl", "Zp", "Cf", "Co", "Cn"})
_MARKS = frozenset({"Mn", "Mc", "Me"})
# Letters, marks and symbols that show nothing: the joiner of graphemes, Hangul fillers, Khmer inherent vowels, the
# blank of Braille. Variation selectors are marks, and show nothing either.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0")
_SELECTORS = (range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0))


def check_visible(text: str, *, allowed: str = "") -> str:
    """The text, if every character of it can be seen and none hides another.

    Args:
        text: The text.
        allowed: Control characters that it may hold, such as the line feed.

    Raises:
        ValueError: One cannot; the message names it.
    """
    marks = MOST_MARKS  # of the letter that is not there before the first character
    for character in text:
        category = unicodedata.category(character)
        if character not in allowed and (category in _HIDDEN or _is_blank(character)):
            raise ValueError(f"the character U+{ord(character):04X} is not allowed here: it cannot be seen")
        marks = marks + 1 if category in _MARKS else 0
        if marks > MOST_MARKS:
            raise ValueError(
                f"the character U+{ord(character):04X} is not allowed here: it is a combining mark without a letter or "
                "the third on one"
            )
    return text


def _is_blank(character: str) -> bool:
    return character in _BLANK or any(ord(character) in selectors for selectors in _SELECTORS)
