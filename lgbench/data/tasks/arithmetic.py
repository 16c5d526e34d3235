"""Arithmetic on numbers written least significant digit first. Length: digits of the longer operand.

`cot_multiply` is the exception: its length is the digits of its first operand. A shorter operand counts as padded with
zeros at its most significant end, which is its right end here. Strings and rules: docs/protocol.md.
"""

from __future__ import annotations

import string
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray

from lgbench.data.task import Domain, Stream, Task

DOMAIN = Domain(name="arithmetic", alphabet=f"{string.digits}+-*=", preset="arithmetic")

Numbers = list[str]
"""Numbers as written in prompts: decimal digits, least significant first."""


def _operands(prompt: str, sign: str) -> list[str]:
    return prompt[:-1].split(sign)


def reverse_add(prompt: str) -> str:
    """The sum, least significant digit first, right-padded with `0` to one digit more than the longer operand.

    Examples:
        >>> reverse_add("7431+6598=")  # 1347 + 8956 = 10303
        '30301'
        >>> reverse_add("21+4=")  # 12 + 4 = 16
        '610'
    """
    first, second = _operands(prompt, "+")
    total = int(first[::-1]) + int(second[::-1])
    return str(total)[::-1].ljust(max(len(first), len(second)) + 1, "0")


def no_carry(prompt: str) -> str:
    """The sum of each digit position modulo 10, carries dropped, then one `0`.

    Examples:
        >>> no_carry("7431+6598=")
        '39290'
    """
    first, second = _operands(prompt, "+")
    return "".join(str((int(a) + int(b)) % 10) for a, b in zip_longest(first, second, fillvalue="0")) + "0"


def carry_only(prompt: str) -> str:
    """`0`, then the carry out of each digit position.

    Examples:
        >>> carry_only("7431+6598=")
        '01111'
        >>> carry_only("91+20=")
        '010'
    """
    first, second = _operands(prompt, "+")
    carries = ["0"]
    for a, b in zip_longest(first, second, fillvalue="0"):
        carries.append("1" if int(a) + int(b) + int(carries[-1]) >= 10 else "0")
    return "".join(carries)


def reverse_subtract(prompt: str) -> str:
    """The difference, least significant digit first, padded like a sum. The first operand is the greater or equal one.

    Examples:
        >>> reverse_subtract("6598-7431=")  # 8956 - 1347 = 7609
        '90670'
    """
    first, second = _operands(prompt, "-")
    difference = int(first[::-1]) - int(second[::-1])
    return str(difference)[::-1].ljust(max(len(first), len(second)) + 1, "0")


def copy_first_op(prompt: str) -> str:
    """Control: the first operand as written.

    Examples:
        >>> copy_first_op("7431+6598=")
        '7431'
    """
    first, _ = _operands(prompt, "+")
    return first


def cot_multiply(prompt: str) -> str:
    """Long multiplication with its partial products, then the product.

    For digit i of the second operand, least significant first: i zeros, then the first operand times that digit (so a
    zero digit gives i zeros and one more). The partial products are joined by `+`; after `=` stands the product,
    right-padded with `0` to one digit more than the first operand if it is shorter.

    Examples:
        >>> cot_multiply("7431*652=")  # 1347 * 256
        '2808+05376+004962=238443'
    """
    first, second = _operands(prompt, "*")
    a = int(first[::-1])
    partial_products = ("0" * i + str(a * int(digit))[::-1] for i, digit in enumerate(second))
    product = str(a * int(second[::-1]))[::-1].ljust(len(first) + 1, "0")
    return "+".join(partial_products) + "=" + product


def _numbers(stream: Stream, widths: NDArray[np.int64]) -> Numbers:
    """One number for each width, uniform in 10^(width-1)..10^width-1 (width 1: 0..9)."""
    count, widest = len(widths), int(widths.max())
    digits = stream.below(10, count * widest).reshape(count, widest)
    leading = np.where(widths > 1, 1 + stream.below(9, count), digits[:, 0])
    digits[np.arange(count), widths - 1] = leading
    text = (digits + ord("0")).astype(np.uint8).tobytes().decode("ascii")
    return [
        text[start : start + width]
        for start, width in zip(range(0, count * widest, widest), widths.tolist(), strict=True)
    ]


def _fixed(length: int, count: int) -> NDArray[np.int64]:
    return np.full(count, length, dtype=np.int64)


def _varied(stream: Stream, length: int, count: int) -> NDArray[np.int64]:
    return 1 + stream.below(length, count)


def _sums(stream: Stream, length: int, count: int) -> list[str]:
    first = _numbers(stream, _fixed(length, count))
    second = _numbers(stream, _fixed(length, count))
    return [f"{a}+{b}=" for a, b in zip(first, second, strict=True)]


def _train_sums_first_longer(stream: Stream, length: int, count: int) -> list[str]:
    longer = _numbers(stream, _fixed(length, count))
    other = _numbers(stream, _varied(stream, length, count))
    return [f"{a}+{b}=" for a, b in zip(longer, other, strict=True)]


def _train_sums(stream: Stream, length: int, count: int) -> list[str]:
    longer = _numbers(stream, _fixed(length, count))
    other = _numbers(stream, _varied(stream, length, count))
    swaps = stream.below(2, count).tolist()
    return [f"{b}+{a}=" if swap else f"{a}+{b}=" for a, b, swap in zip(longer, other, swaps, strict=True)]


def _ordered_differences(first: Numbers, second: Numbers) -> list[str]:
    return [f"{a}-{b}=" if int(a[::-1]) >= int(b[::-1]) else f"{b}-{a}=" for a, b in zip(first, second, strict=True)]


def _differences(stream: Stream, length: int, count: int) -> list[str]:
    first = _numbers(stream, _fixed(length, count))
    return _ordered_differences(first, _numbers(stream, _fixed(length, count)))


def _train_differences(stream: Stream, length: int, count: int) -> list[str]:
    longer = _numbers(stream, _fixed(length, count))
    return _ordered_differences(longer, _numbers(stream, _varied(stream, length, count)))


def _products(stream: Stream, length: int, count: int) -> list[str]:
    first = _numbers(stream, _fixed(length, count))
    second = _numbers(stream, _fixed(3, count))
    return [f"{a}*{b}=" for a, b in zip(first, second, strict=True)]


_WRITTEN = "Numbers are written with the least significant digit first."

ARITHMETIC = (
    Task(
        name="reverse_add",
        version=1,
        domain=DOMAIN,
        definition=f"Add the two numbers. {_WRITTEN} Write the sum the same way, with exactly one digit more than the "
        "longer number, filled up with 0 at the end.",
        example="7431+6598=",
        sample=_sums,
        train_sample=_train_sums,
        solve=reverse_add,
    ),
    Task(
        name="no_carry",
        version=1,
        domain=DOMAIN,
        definition=f"Add the two numbers digit by digit and drop every carry. {_WRITTEN} Position by position, write "
        "the last digit of the sum of the two digits (a missing digit counts as 0), then one final 0.",
        example="7431+6598=",
        sample=_sums,
        train_sample=_train_sums,
        solve=no_carry,
    ),
    Task(
        name="carry_only",
        version=1,
        domain=DOMAIN,
        definition=f"Add the two numbers but write only the carries. {_WRITTEN} Write a 0, then for each digit "
        "position of the longer number a 1 if that position of the addition carries and a 0 if it does not.",
        example="7431+6598=",
        sample=_sums,
        train_sample=_train_sums,
        solve=carry_only,
    ),
    Task(
        name="reverse_subtract",
        version=1,
        domain=DOMAIN,
        definition=f"Subtract the second number from the first. {_WRITTEN} Write the difference the same way, with "
        "exactly one digit more than the longer number, filled up with 0 at the end.",
        example="6598-7431=",
        sample=_differences,
        train_sample=_train_differences,
        solve=reverse_subtract,
    ),
    Task(
        name="copy_first_op",
        version=1,
        domain=DOMAIN,
        definition="Write the number before the + sign again, digit for digit.",
        example="7431+6598=",
        sample=_sums,
        train_sample=_train_sums_first_longer,
        solve=copy_first_op,
    ),
    Task(
        name="cot_multiply",
        version=1,
        domain=DOMAIN,
        definition=f"Multiply the two numbers by long multiplication. {_WRITTEN} For each digit of the second number, "
        "in the order written, write one 0 for every digit before it and then the first number times that digit; join "
        "these with +. Then write = and the product, with at least one digit more than the first number (filled up "
        "with 0 at the end).",
        example="7431*652=",
        sample=_products,
        solve=cot_multiply,
    ),
)
