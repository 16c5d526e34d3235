"""Strings of letters. Length: number of characters of the input string. Strings and rules: docs/protocol.md."""

from __future__ import annotations

import string
from collections import Counter

import numpy as np

from lgbench.data.task import Domain, Stream, Task

LETTERS = string.ascii_lowercase + string.ascii_uppercase
DOMAIN = Domain(name="strings", alphabet=f"{LETTERS}=", preset="strings")
QUERY_SIZES = (1, 2, 3)


def _input(prompt: str) -> str:
    return prompt.removesuffix("=")


def string_copy(prompt: str) -> str:
    """The input.

    Examples:
        >>> string_copy("hEllO=")
        'hEllO'
    """
    return _input(prompt)


def reverse(prompt: str) -> str:
    """The characters in reverse order.

    Examples:
        >>> reverse("hEllO=")
        'OllEh'
    """
    return _input(prompt)[::-1]


def capitalize(prompt: str) -> str:
    """The case of every letter flipped.

    Examples:
        >>> capitalize("hEllO=")
        'HeLLo'
    """
    return _input(prompt).swapcase()


def capitalize_reverse(prompt: str) -> str:
    """The characters in reverse order, the case of every letter flipped.

    Examples:
        >>> capitalize_reverse("hEllO=")
        'oLLeH'
    """
    return _input(prompt)[::-1].swapcase()


def mqar(prompt: str) -> str:
    """Multi-query associative recall: what follows the query in the string, to the string's end.

    Every character of the target answers the query formed by the characters before it.

    Examples:
        >>> mqar("hEkqOwZ=kq")
        'OwZ'
    """
    text, query = prompt.split("=")
    return text[text.index(query) + len(query) :]


def repeat_first(prompt: str) -> str:
    """Control: the first character, as often as the string has characters.

    Examples:
        >>> repeat_first("hEllO=")
        'hhhhh'
    """
    text = _input(prompt)
    return text[0] * len(text)


def _texts(stream: Stream, length: int, count: int) -> list[str]:
    alphabet = np.frombuffer(LETTERS.encode(), dtype=np.uint8)
    text = alphabet[stream.below(len(LETTERS), count * length)].tobytes().decode("ascii")
    return [text[start : start + length] for start in range(0, count * length, length)]


def _inputs(stream: Stream, length: int, count: int) -> list[str]:
    return [text + "=" for text in _texts(stream, length, count)]


def queries(text: str) -> list[str]:
    """The eligible queries of `text`: substrings of 1 to 3 characters that occur once and do not end it.

    Overlapping occurrences count. As each occurs once, there is one entry for each eligible (start, size).

    Examples:
        >>> queries("aaab")
        ['aaa']
        >>> queries("aba")
        ['b', 'ab']
    """
    eligible = []
    for size in QUERY_SIZES:
        substrings = [text[start : start + size] for start in range(len(text) - size + 1)]
        occurrences = Counter(substrings)
        eligible += [substring for substring in substrings[:-1] if occurrences[substring] == 1]
    return eligible


def _recalls(stream: Stream, length: int, count: int) -> list[str]:
    prompts: list[str] = []
    while len(prompts) < count:
        missing = count - len(prompts)
        texts = _texts(stream, length, missing)
        picks = stream.words(missing).tolist()
        for text, pick in zip(texts, picks, strict=True):
            if eligible := queries(text):
                prompts.append(f"{text}={eligible[pick % len(eligible)]}")
    return prompts


STRINGS = (
    Task(
        name="string_copy",
        version=1,
        domain=DOMAIN,
        definition="Write the string before the = sign again, letter for letter.",
        example="hEllO=",
        sample=_inputs,
        solve=string_copy,
    ),
    Task(
        name="reverse",
        version=1,
        domain=DOMAIN,
        definition="Write the string before the = sign backwards.",
        example="hEllO=",
        sample=_inputs,
        solve=reverse,
    ),
    Task(
        name="capitalize",
        version=1,
        domain=DOMAIN,
        definition="Flip the case of every letter of the string before the = sign: lower case becomes upper case and "
        "upper case becomes lower case.",
        example="hEllO=",
        sample=_inputs,
        solve=capitalize,
    ),
    Task(
        name="capitalize_reverse",
        version=1,
        domain=DOMAIN,
        definition="Write the string before the = sign backwards, and flip the case of every letter: lower case "
        "becomes upper case and upper case becomes lower case.",
        example="hEllO=",
        sample=_inputs,
        solve=capitalize_reverse,
    ),
    Task(
        name="mqar",
        version=1,
        domain=DOMAIN,
        definition="After the = sign stands a short query that occurs exactly once in the string before the = sign. "
        "Write everything that follows the query in that string, up to its end.",
        example="hEkqOwZ=kq",
        sample=_recalls,
        solve=mqar,
        min_length=2,
    ),
    Task(
        name="repeat_first",
        version=1,
        domain=DOMAIN,
        definition="Write the first letter of the string before the = sign as many times as that string has letters.",
        example="hEllO=",
        sample=_inputs,
        solve=repeat_first,
    ),
)
