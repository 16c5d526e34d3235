"""What the arithmetic and string samplers draw, against the distributions of the definition.

A docstring names mistakes that would fail the test by far.
"""

from __future__ import annotations

import itertools
import string

import numpy as np
import pytest
from scipy import stats

from lgbench.data.task import Stream
from lgbench.data.tasks import get_task
from tests.chi_square import LEAST_P, p_value, uniform
from tests.oracles import complaints, operands

pytestmark = pytest.mark.slow


def sample(task: str, length: int, count: int, *, split: str = "test") -> list[str]:
    return get_task(task).sampler(split)(Stream("distributions", task, split, length), length, count)


def numbers(prompts: list[str]) -> list[tuple[int, int]]:
    return [(int(first[::-1]), int(second[::-1])) for first, second in map(operands, prompts)]


def test_the_chi_square_test_can_fail() -> None:
    faces = uniform(range(6))
    assert p_value([face for face in range(6) for _ in range(100)], faces) == 1
    assert p_value([face for face in range(6) for _ in range(100 + 30 * (face == 5))], faces) > LEAST_P
    assert p_value([face for face in range(6) for _ in range(100 + 60 * (face == 5))], faces) < LEAST_P
    assert p_value([face for face in range(7) for _ in range(100)], faces) == 0


@pytest.mark.parametrize("task", ["reverse_add", "no_carry", "carry_only", "copy_first_op"])
@pytest.mark.parametrize("length", [1, 2])
def test_operands_of_test_examples_are_uniform_and_independent(task: str, length: int) -> None:
    """A leading digit drawn like the others, or 0 left out of the numbers of one digit."""
    values = range(0 if length == 1 else 10 ** (length - 1), 10**length)
    drawn = numbers(sample(task, length, 60_000))
    assert p_value(drawn, uniform(itertools.product(values, repeat=2))) > LEAST_P


def test_long_operands_have_uniform_digits() -> None:
    """A digit position that is skipped, or shared between the operands."""
    written = ["".join(operands(prompt)) for prompt in sample("reverse_add", 20, 2000)]
    for position in range(40):
        digits = "123456789" if position % 20 == 19 else string.digits
        assert p_value((text[position] for text in written), uniform(digits)) > LEAST_P
    pairs = ((text[position], text[position + 20]) for text in written for position in range(19))
    assert p_value(pairs, uniform(itertools.product(string.digits, repeat=2))) > LEAST_P


def test_differences_order_two_uniform_operands() -> None:
    """Redrawing until the first is the greater, which would make differences of 0 twice as likely."""
    pairs = {(a, b): (0.01 if a == b else 0.02) for a in range(10) for b in range(a + 1)}
    for split in ("test", "train"):
        assert p_value(numbers(sample("reverse_subtract", 1, 20_000, split=split)), pairs) > LEAST_P


def test_products_have_a_second_operand_of_three_digits() -> None:
    for split in ("test", "train"):
        drawn = numbers(sample("cot_multiply", 1, 90_000, split=split))
        assert p_value((b for _, b in drawn), uniform(range(100, 1000))) > LEAST_P
        assert p_value((a for a, _ in drawn), uniform(range(10))) > LEAST_P


@pytest.mark.parametrize("task", ["reverse_add", "no_carry", "carry_only"])
def test_training_sums_vary_the_shorter_operand_and_the_order(task: str) -> None:
    """The longer operand always first, or a shorter operand that never reaches the full length."""
    length = 4
    widths = {(length, short): 1 / 8 for short in range(1, length)} | {(length, length): 1 / 4}
    widths |= {(short, long): share for (long, short), share in widths.items()}
    drawn = ((len(first), len(second)) for first, second in map(operands, sample(task, length, 8000, split="train")))
    assert p_value(drawn, widths) > LEAST_P


@pytest.mark.parametrize("task", ["reverse_subtract", "copy_first_op"])
def test_training_examples_with_the_longer_operand_first(task: str) -> None:
    drawn = ((len(first), len(second)) for first, second in map(operands, sample(task, 4, 8000, split="train")))
    assert p_value(drawn, uniform((4, second) for second in range(1, 5))) > LEAST_P


def test_shorter_training_operands_are_uniform_among_their_width() -> None:
    """A shorter operand cut from a longer one, which could then end in 0."""
    drawn = numbers(sample("copy_first_op", 3, 40_000, split="train"))
    by_width = {width: range(0 if width == 1 else 10 ** (width - 1), 10**width) for width in (1, 2, 3)}
    probabilities = {value: 1 / 3 / len(values) for values in by_width.values() for value in values}
    assert p_value((b for _, b in drawn), probabilities) > LEAST_P


@pytest.mark.parametrize("task", ["string_copy", "reverse", "capitalize", "capitalize_reverse", "repeat_first"])
def test_letters_are_uniform_and_independent(task: str) -> None:
    pairs = (prompt[start : start + 2] for prompt in sample(task, 6, 10_000) for start in (0, 2, 4))
    letters = ("".join(pair) for pair in itertools.product(string.ascii_letters, repeat=2))
    assert p_value(pairs, uniform(letters)) > LEAST_P


def test_recall_strings_are_uniform_among_those_with_a_query() -> None:
    texts = (prompt[:2] for prompt in sample("mqar", 2, 30_000))
    pairs = ("".join(pair) for pair in itertools.permutations(string.ascii_letters, 2))
    assert p_value(texts, uniform(pairs)) > LEAST_P


def eligible_queries(text: str) -> list[str]:
    """By trying every substring of the string, in order of start, then size."""
    tried = [text[start : start + size] for start in range(len(text)) for size in (1, 2, 3)]
    fits = [not complaints("mqar", f"{text}={query}", length=len(text), split="test") for query in tried]
    return [query for query, fit in zip(tried, fits, strict=True) if fit]


@pytest.mark.parametrize(("length", "count"), [(3, 3000), (5, 6000), (12, 3000)])
def test_queries_are_uniform_among_the_eligible(length: int, count: int) -> None:
    """A size drawn first, then a start: short queries, which repeat more often, would be drawn too often."""
    ranks: dict[int, list[int]] = {}
    for prompt in sample("mqar", length, count):
        text, query = prompt.split("=")
        eligible = eligible_queries(text)
        ranks.setdefault(len(eligible), []).append(eligible.index(query))
    tested = {size: drawn for size, drawn in ranks.items() if size > 1 and len(drawn) >= 5 * size}
    assert tested
    for size, drawn in tested.items():
        assert p_value(drawn, uniform(range(size))) > LEAST_P


def test_queries_prefer_no_size_where_letters_repeat() -> None:
    drawn, expected = np.zeros(3), np.zeros(3)
    for prompt in sample("mqar", 40, 1200):
        text, query = prompt.split("=")
        sizes = [len(each) for each in eligible_queries(text)]
        drawn[len(query) - 1] += 1
        expected += np.array([sizes.count(size) for size in (1, 2, 3)]) / len(sizes)
    assert expected[0] < 0.8 * expected[2]
    assert stats.chisquare(drawn, expected).pvalue > LEAST_P
