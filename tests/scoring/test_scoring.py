from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from lgbench.data.suites import Cell, load_suite
from lgbench.results.schema import Result
from lgbench.scoring.measures import (
    horizon,
    is_partial,
    mean_accuracy,
    open_score,
    summarize,
    wilson_interval,
    zone_accuracy,
    zone_lengths,
)
from tests.made_up import make_counts, make_result


def without(result: Result, *cells: Cell) -> Result:
    kept = tuple(each for each in result.cells if (each.task, each.length) not in cells)
    return result.model_copy(update={"cells": kept})


@given(st.integers(1, 5000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_interval_is_scipys(sample: tuple[int, int]) -> None:
    correct, total = sample
    expected = binomtest(correct, total).proportion_ci(method="wilson")
    low, high = wilson_interval(correct, total)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= correct / total <= high <= 1


def test_mean_accuracy_weighs_cells_not_examples() -> None:
    counts = {2: make_counts(1, 1), 4: make_counts(0, 999)}
    assert mean_accuracy(counts, (2, 4)) == Fraction(1, 2)


def test_mean_accuracy_is_none_not_zero_without_cells() -> None:
    counts = {2: make_counts(1, 1)}
    assert mean_accuracy(counts, ()) is None
    assert mean_accuracy(counts, (2, 4)) is None


def test_zones_of_a_trained_arm_are_its_groups() -> None:
    result = make_result(lambda cell: 256 if cell.length <= 6 else 64, arm="main_only", group="add-multiply", seed=0)
    assert zone_accuracy(result, "reverse_add", "in_distribution") == 1  # 2, 4
    assert zone_accuracy(result, "reverse_add", "transfer") == Fraction(5, 8)  # 6, 8
    assert zone_accuracy(result, "reverse_add", "beyond") == Fraction(1, 4)  # 10
    assert zone_accuracy(result, "cot_multiply", "transfer") is None


def test_open_zones_begin_where_the_home_group_says_and_hold_every_length_of_the_grid() -> None:
    standard = load_suite("standard-v1")
    assert zone_lengths(standard, "reverse_add", "transfer", None) == (18, 20, 24, 28, 32)
    assert zone_lengths(standard, "reverse_add", "transfer", "add-carry") == (20, 24, 28, 32)
    assert zone_lengths(standard, "shortest_path", "beyond", None) == ()


def test_a_partial_result_has_no_score_but_shows_its_complete_zones() -> None:
    whole = make_result(lambda cell: 128)
    part = without(whole, Cell("reverse_add", 20))
    assert not is_partial(whole)
    assert open_score(whole) == Fraction(1, 2)
    assert is_partial(part)
    assert open_score(part) is None
    assert zone_accuracy(part, "reverse_add", "transfer") is None
    summary = next(each for each in summarize(part) if each.task == "reverse_add")
    assert summary.zones["beyond"] is None
    assert summary.horizon_50 is None
    transfer = summary.zones["transfer"]
    assert transfer is not None
    assert (transfer.correct, transfer.total, transfer.accuracy) == (4 * 128, 4 * 256, Fraction(1, 2))
    assert transfer.interval == wilson_interval(512, 1024)


def test_open_score_is_the_mean_over_the_five_main_tasks() -> None:
    right = {"reverse_add": 256, "string_copy": 128, "capitalize_reverse": 64, "shortest_path": 32, "dfs_trace": 16}
    result = make_result(lambda cell: right.get(cell.task, 200))
    assert open_score(result) == Fraction(256 + 128 + 64 + 32 + 16, 5 * 256)
    assert open_score(make_result(lambda cell: 1, arm="main_only", group="copy-mqar", seed=0)) is None


@pytest.mark.parametrize(
    ("right", "percent", "length", "shown"),
    [
        ((9, 10, 9), 90, 12, "≥12"),
        ((9, 10, 8), 90, 8, "8"),
        ((8, 10, 10), 90, 0, "<4"),
        ((10, 8, 10), 90, 4, "4"),
        ((5, 5, 4), 50, 8, "8"),
    ],
)
def test_horizon(right: tuple[int, int, int], percent: int, length: int, shown: str) -> None:
    counts = {length: make_counts(correct, 10) for length, correct in zip((4, 8, 12), right, strict=True)}
    found = horizon(counts, (4, 8, 12), percent=percent)
    assert found is not None
    assert found.length == length
    assert str(found) == shown


@given(right=st.lists(st.integers(915, 928), min_size=1, max_size=6))
def test_horizon_is_the_longest_prefix_that_reaches_the_level(right: list[int]) -> None:
    lengths = range(1, len(right) + 1)
    counts = {length: make_counts(correct, 1024) for length, correct in zip(lengths, right, strict=True)}
    found = horizon(counts, lengths, percent=90)
    assert found is not None
    assert found.length == max(
        (n for n in lengths if all(correct >= 922 for correct in right[:n])),  # 90 % are 921.6
        default=0,
    )


def test_horizon_is_unknown_where_a_length_is_missing() -> None:
    assert horizon({4: make_counts(1, 1)}, (4, 8), percent=90) is None
    assert horizon({}, (), percent=90) is None


def test_summaries_keep_task_order_and_list_accuracy_by_length() -> None:
    result = make_result(lambda cell: cell.length, arm="transfer", group="copy-mqar", seed=0)
    copy, mqar = summarize(result)
    assert (copy.task, mqar.task) == ("string_copy", "mqar")
    assert copy.accuracies == {length: Fraction(length, 256) for length in range(2, 21, 2)}
