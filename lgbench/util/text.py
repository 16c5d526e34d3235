"""Text for people, and text of strangers made fit for a terminal, a log and a page of JSON.

Names of files and folders, results and records, checkpoints, and what a server answers are written by others. In a
terminal an escape sequence can hide or forge lines, and so can characters that turn the direction of text. Whatever a
command prints passes `plain_lines` in the end; what belongs on one line of its own passes `plain` before.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from lgbench.util.errors import LgbenchError

LONGEST_PATH = 5000
"""A limit for `plain` that cuts no path of a real system."""


def duration(seconds: float) -> str:
    """How long something takes, about.

    Examples:
        >>> duration(42.4), duration(160), duration(5400)
        ('42 s', '3 min', '1 h 30 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def plain(text: object, *, limit: int = 500) -> str:
    r"""Text that may hold anything, made fit for one line of a terminal: short, without control characters.

    Args:
        text: The text, or a path.
        limit: The most characters of it that are shown.

    Examples:
        >>> plain("run\x1b[31m\nError: none")
        'run\\x1b[31m\\nError: none'
    """
    whole = str(text)
    return _escaped(whole if len(whole) <= limit else f"{whole[:limit]}...")


def plain_lines(text: str) -> str:
    r"""Text of any length without control characters other than line feeds and tabs.

    Examples:
        >>> plain_lines("a\tb\n\x1b[31mc\u202e")
        'a\tb\n\\x1b[31mc\\u202e'
    """
    if text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "\n".join("\t".join(map(_escaped, line.split("\t"))) for line in text.split("\n"))


def json_text(value: Any) -> str:
    """A value as indented JSON for a terminal. JSON itself lets one control character stand as it is: DEL."""
    return json.dumps(value, indent=1).replace("\x7f", "\\u007f")


def key_values(given: Sequence[str], *, flag: str) -> dict[str, str]:
    """`key=value` texts, as given to an option, as a dictionary.

    Raises:
        LgbenchError: One does not read so, or a key is given twice.
    """
    options: dict[str, str] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise LgbenchError(f"{flag} {text!r} does not read as key=value.")
        if key in options:
            raise LgbenchError(f"{flag} {key!r} is given twice.")
        options[key] = value
    return options


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
