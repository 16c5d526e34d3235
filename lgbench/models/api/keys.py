"""Keys and organisation ids, kept out of everything that is shown or stored, however a server writes them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

_MASK = "***"
_PART = 12  # consecutive characters of a key that give it away
_SHORTEST = 8  # characters of a key that is a secret; anything shorter is a placeholder such as "none"
_STRETCH = 6
# A character as JSON, Python and C, HTML and URLs may escape it, once or twice: `\u0073`, `\u{73}`, `\x73`, `\163`,
# `&#115;`, `&#x73;`, `%2573`. Only letters and digits of that are compared.
_CODES = ("u{:04x}", "u{:x}", "x{:02x}", "{:03o}", "{:d}", "0x{:02x}", "25{:02x}", "{:02x}00", "00{:02x}")
_NOT_VISIBLE = re.compile("[\\s\x00-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]+")
_NOT_ALPHANUMERIC = re.compile("[^0-9A-Za-z]+")


class Secrets:
    """What nobody may read: keys, in plain, percent, hexadecimal and base64 form, in any case, broken or whole.

    Any 12 consecutive characters of a key count as the key. A text is searched twice: without its blanks and invisible
    characters, and without everything but ASCII letters and digits, so that nothing put between the characters of a
    key hides it.

    Args:
        values: The secrets; empty ones are ignored.
    """

    def __init__(self, values: Iterable[str]) -> None:
        given = dict.fromkeys(value for value in values if value)
        self._placeholders = [value for value in given if len(value) < _SHORTEST]
        secrets = [value for value in given if len(value) >= _SHORTEST]
        plain = (part.lower() for value in secrets for part in _parts(value))
        alphanumeric = (part for value in secrets for part in _alphanumeric_parts(value))
        self._searches = (_Search(_NOT_VISIBLE, plain), _Search(_NOT_ALPHANUMERIC, alphanumeric))

    def __contains__(self, text: str) -> bool:
        """Whether a text holds a secret or a part of one. Placeholders are no secrets."""
        return any(search.succeeds(text) for search in self._searches)

    def cleaned(self, text: str) -> str:
        """A text with `***` in the place of each secret. Clean before you cut: a cut key is still a key."""
        if text in self:
            text = _masked(text, sorted(span for search in self._searches for span in search.found(text)))
        for value in self._placeholders:  # within words they would be cut out of our own
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", _MASK, text)
        return text


class _Search:
    """Looks for any of many parts of secrets in a text.

    Args:
        ignored: Characters to leave out of the text.
        parts: Without these characters, in lower case, of at least 8.
    """

    def __init__(self, ignored: re.Pattern[str], parts: Iterable[str]) -> None:
        self._ignored = ignored
        self._parts = list(dict.fromkeys(parts))
        # Every part holds a stretch that begins at a multiple of the stride, wherever in a text the part begins.
        self._stretches = {part[at : at + _STRETCH] for part in self._parts for at in range(len(part) - _STRETCH + 1)}
        self._stride = min(map(len, self._parts), default=_PART) - _STRETCH + 1

    def succeeds(self, text: str) -> bool:
        """Whether there is any. Quick where there is none, as in every reply."""
        squeezed = _squeezed(self._ignored, text)
        places = range(0, len(squeezed), self._stride)
        if not any(squeezed[place : place + _STRETCH] in self._stretches for place in places):
            return False
        return any(part in squeezed for part in self._parts)

    def found(self, text: str) -> Iterator[tuple[int, int]]:
        """The places of the parts in a text, from and to."""
        kept = [place for place, sign in enumerate(text) if not self._ignored.fullmatch(sign)]
        squeezed = "".join(sign.lower() if (sign := text[place]).isascii() else sign for place in kept)
        for part in self._parts:
            start = squeezed.find(part)
            while start >= 0:
                yield kept[start], kept[start + len(part) - 1] + 1
                start = squeezed.find(part, start + 1)


def _parts(value: str) -> list[str]:
    """All that give a key away: its runs of 12 characters, or all of it where it has fewer."""
    return [value[start : start + _PART] for start in range(max(1, len(value) - _PART + 1))]


def _alphanumeric_parts(value: str) -> Iterator[str]:
    """What its parts are, in every form, when only letters and digits are left of them."""
    least = min(len(value), _PART)  # what is left of a part with many other signs may be a common word
    parts = _parts(_squeezed(_NOT_ALPHANUMERIC, value))
    forms = (_squeezed(_NOT_ALPHANUMERIC, form) for part in _parts(value) for form in _forms(part))
    return (each for each in (*parts, *forms) if len(each) >= least)


def _forms(part: str) -> Iterator[str]:
    """A part of a key as other encodings write it."""
    raw = part.encode()
    yield quote(part, safe="")
    yield raw.hex()
    for code in _CODES:
        yield "".join(code.format(byte) for byte in raw)
    # Base64 takes three bytes at a time: what it makes of a part depends on where in the text the part begins.
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + raw).decode().rstrip("=")
        depends_on_more = (before + len(raw)) % 3 > 0
        yield encoded[(0, 2, 3)[before] : len(encoded) - depends_on_more]


def _squeezed(ignored: re.Pattern[str], text: str) -> str:
    return ignored.sub("", text).lower()


def _masked(text: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces: list[str] = []
    done = 0
    for start, end in spans:
        if start > done or not pieces:
            pieces += [text[done:start], _MASK]
        done = max(done, end)
    return "".join([*pieces, text[done:]])
