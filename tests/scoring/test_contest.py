"""Systems against each other: what is said of them, by hand and against other routes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from statistics import mean

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lgbench.data.suites import Cell
from lgbench.results.schema import Result
from lgbench.scoring.contest import Contest, compare_systems
from lgbench.scoring.contest_caveats import caveats, contest_notes
from lgbench.scoring.contest_frames import contest_frame, contest_record
from lgbench.scoring.contest_report import contest_parts, duel_lines
from lgbench.scoring.contestants import Contestant
from lgbench.scoring.estimates import mean_estimate
from lgbench.scoring.measures import open_score
from lgbench.scoring.paired import paired_difference
from lgbench.scoring.ranking import told_apart
from lgbench.scoring.systems import score_trained
from lgbench.util.errors import LgbenchError, UnknownNameError
from lgbench.util.tables import Table
from tests.made_up import MINI, group_results, make_result


def system(name: str, **groups: Sequence[int]) -> Contestant:
    """A system by the right replies of each seed of `transfer` in every cell, by group; `main_only` has 10."""
    results: list[Result] = []
    for group, right in groups.items():
        arms = {"main_only": [10] * len(right), "transfer": right}
        results += group_results(group.replace("_", "-"), arms)
    return Contestant(name=name, results=tuple(results))


def contest(*systems: Contestant, baseline: str | None = None, arm: str = "transfer") -> Contest:
    return compare_systems(systems, MINI, baseline=baseline, arm=arm)


def test_a_group_is_compared_by_welchs_test_over_seeds() -> None:
    ours, theirs = [200, 220, 210, 190, 230], [100, 180, 140, 120, 90]
    compared = contest(system("mine", copy_mqar=ours), system("rope", copy_mqar=theirs))
    (duel,) = compared.duels
    found = stats.ttest_ind(ours, theirs, equal_var=False)
    low, high = found.confidence_interval()
    assert duel.mean == duel.differences["copy-mqar"]
    assert duel.mean.value == Fraction(sum(ours) - sum(theirs), 5 * 256)
    assert duel.mean.interval == pytest.approx((low / 256, high / 256))
    assert duel.mean.p == pytest.approx(found.pvalue)
    assert duel.word == "better"
    assert duel.gains["copy-mqar"].value == duel.mean.value, "as main_only of both is the same"
    assert duel_lines(compared, duel)[0] == "mine is better than rope."
    (back,) = contest(system("rope", copy_mqar=theirs), system("mine", copy_mqar=ours)).duels
    assert (back.word, back.mean.value) == ("worse", -duel.mean.value)


@pytest.mark.parametrize(
    ("seeds", "word"), [(1, "too few seeds"), (2, "too few seeds"), (3, "consistent with better"), (5, "better")]
)
def test_what_can_be_said_grows_with_seeds(seeds: int, word: str) -> None:
    ours, theirs = [200, 205, 210, 195, 190][:seeds], [20, 25, 30, 15, 10][:seeds]
    compared = contest(system("mine", copy_mqar=ours), system("rope", copy_mqar=theirs))
    (duel,) = compared.duels
    assert duel.word == word
    said = " ".join(caveats(compared, duel))
    assert ("are needed for" in said) == (seeds < 5)
    assert ("over its examples alone" in said) == (seeds == 1)
    assert ("p = " in duel_lines(compared, duel)[1] or "p < " in duel_lines(compared, duel)[1]) == (seeds > 2)
    table = next(part for part in contest_parts(compared) if isinstance(part, Table))
    assert (table.rows[0][-1] is not None) == (seeds > 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 256), min_size=5, max_size=6), min_size=4, max_size=4))
def test_over_all_groups_the_verdict_is_the_boards(right: list[list[int]]) -> None:
    """The same two systems, by the functions that order the leaderboard."""
    one = system("one", copy_mqar=right[0], maze_path=right[1])
    other = system("other", copy_mqar=right[2], maze_path=right[3])
    (duel,) = contest(one, other).duels
    scored = [score_trained(each.results, MINI) for each in (one, other)]
    pairs = zip(*(each.covered for each in scored), strict=True)
    expected = mean_estimate(one.score - two.score for one, two in pairs if one.score and two.score)
    assert expected is not None
    assert (duel.mean.value, duel.mean.interval, duel.mean.p) == (expected.value, expected.interval, expected.p_value)
    estimates = [each.score for each in scored if each.score is not None]
    assert (duel.word in ("better", "worse")) == bool(told_apart(estimates)[0, 1])


def test_of_several_pairs_p_is_corrected_and_a_baseline_makes_fewer() -> None:
    systems = [system(name, copy_mqar=[n, n + 9, n + 4, n + 7, n + 2]) for name, n in (("a", 90), ("b", 70), ("c", 81))]
    every = contest(*systems)
    assert [(duel.first, duel.second) for duel in every.duels] == [("a", "b"), ("a", "c"), ("b", "c")]
    p_values = [duel.mean.p or 1.0 for duel in every.duels]
    assert [duel.corrected_p for duel in every.duels] == pytest.approx(_holm(p_values))
    some = contest(*systems, baseline="b")
    assert [(duel.first, duel.second) for duel in some.duels] == [("a", "b"), ("c", "b")]
    assert [duel.corrected_p for duel in some.duels] == pytest.approx(
        _holm([duel.mean.p or 1.0 for duel in some.duels])
    )


def _holm(p_values: Sequence[float]) -> list[float]:
    """Holm's correction from its definition: the greatest of the ranks before, each times the tests that are left."""
    ranks = sorted(p_values)
    return [min(1.0, max(ranks[k] * (len(ranks) - k) for k in range(ranks.index(p) + 1))) for p in p_values]


def test_equal_seeds_are_tested_by_permutation_in_one_group_and_not_at_all_in_several() -> None:
    compared = contest(system("mine", copy_mqar=[256] * 5), system("rope", copy_mqar=[0] * 5))
    (duel,) = compared.duels
    assert (duel.mean.interval, duel.mean.p) == (None, 2 / math.comb(10, 5))
    assert duel.word == "better"
    assert "exact permutation test" in " ".join(caveats(compared, duel))
    several = contest(
        system("mine", copy_mqar=[256] * 5, maze_path=[256] * 5), system("rope", copy_mqar=[0] * 5, maze_path=[0] * 5)
    )
    assert several.duels[0].word == "not told apart"
    assert "nothing is tested" in " ".join(caveats(several, several.duels[0]))
    same = contest(system("mine", copy_mqar=[256] * 5), system("rope", copy_mqar=[256] * 5))
    assert same.duels[0].word == "not told apart"
    assert "+0.0" not in "\n".join(str(part) for part in contest_parts(same))


def test_what_only_one_has_is_named_and_what_was_not_learned_too() -> None:
    mine = system("mine", copy_mqar=[100, 90, 95])
    rope = system("rope", copy_mqar=[256, 250, 255], maze_path=[256] * 3)
    compared = contest(mine, rope)
    assert contest_notes(compared) == ["Only rope has runs of maze-path, so this group is not compared."]
    said = caveats(compared, compared.duels[0])
    assert "The comparison covers 1 of the suite's 7 groups." in said
    assert (
        "mine did not learn string_copy (37.1 % up to length 8) and mqar (75.0 % up to length 16) in copy-mqar." in said
    )
    assert [each.name for each in compared.fields] == ["copy-mqar"]


def test_systems_without_a_common_group_make_no_pair() -> None:
    compared = contest(system("mine", copy_mqar=[1, 2]), system("rope", maze_path=[1, 2]))
    assert (compared.duels, compared.fields) == ((), ())
    assert compared.apart == (("mine", "rope"),)
    assert contest_notes(compared)[0] == "mine and rope have no group in common, so they are not compared."


def right_up_to(share: float) -> Callable[[Cell], int]:
    return lambda cell: round(256 * share)


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("4 steps", "4 steps", []),
        ("4 steps", None, []),
        ("8 steps", "4 steps", ["They were trained differently: mine in 8 steps, rope in 4 steps."]),
    ],
)
def test_systems_that_were_trained_differently_are_told(ours: str, theirs: str | None, said: list[str]) -> None:
    one, two = system("mine", copy_mqar=[200, 220]), system("rope", copy_mqar=[100, 180])
    one, two = (replace(each, trained=(how,) * len(each.results)) for each, how in ((one, ours), (two, theirs)))
    compared = contest(one, two)
    assert [each for each in caveats(compared, compared.duels[0]) if "trained differently" in each] == said


def open_system(name: str, *shares: float, correct: dict[Cell, np.ndarray] | None = None) -> Contestant:
    seeds = [None] if len(shares) == 1 else range(len(shares))
    results = tuple(
        make_result(right_up_to(share), seed=seed, replies_sha256=f"{number:064x}")
        for number, (share, seed) in enumerate(zip(shares, seeds, strict=True))
    )
    return Contestant(name=name, results=results, correct=(correct,) if correct else ())


def replies(share: float, seed: int) -> dict[Cell, np.ndarray]:
    random = np.random.default_rng(seed)
    order = {cell: random.permutation(256) for cell in MINI.cells()}
    return {cell: places < round(256 * share) for cell, places in order.items()}


def test_models_of_one_run_are_compared_on_the_examples_that_both_answered() -> None:
    one, other = open_system("one", 0.75, correct=replies(0.75, 1)), open_system("two", 0.5, correct=replies(0.5, 2))
    compared = contest(one, other, arm="open")
    (duel,) = compared.duels
    assert duel.mean.value == Fraction(1, 4)
    assert duel.mean.paired
    assert duel.word == "better"
    assert list(duel.differences) == list(MINI.main_tasks)
    scores = [open_score(each.results[0]) for each in (one, other)]
    assert scores[0] is not None
    assert scores[1] is not None
    assert duel.mean.value == scores[0] - scores[1]
    assert caveats(compared, duel)[0].startswith("Each system has one run, so the interval is over examples")
    assert contest_record(compared)["comparisons"][0]["verdict"] == "better"


def test_models_of_several_runs_are_compared_by_their_open_scores() -> None:
    shares = [(0.5, 0.75, 0.625), (0.25, 0.5, 0.375)]
    (duel,) = contest(open_system("one", *shares[0]), open_system("two", *shares[1]), arm="open").duels
    found = stats.ttest_ind(*shares, equal_var=False)
    assert duel.mean.p == pytest.approx(found.pvalue)
    assert duel.mean.interval == pytest.approx(tuple(found.confidence_interval()))
    assert duel.fewest_seeds == 3


def test_the_same_replies_make_no_difference_and_no_interval() -> None:
    right = replies(0.5, 1)
    compared = contest(open_system("one", 0.5, correct=right), open_system("two", 0.5, correct=right), arm="open")
    (duel,) = compared.duels
    assert (duel.mean.interval, duel.mean.p, duel.word) == (None, None, "not told apart")
    assert "0 points (no interval: both are right on the same examples)" in duel_lines(compared, duel)[1]
    assert "A run has the same replies in both: one may be a copy of the other." in caveats(compared, duel)


def test_the_paired_interval_holds_the_true_difference() -> None:
    """Simulated, for models that agree on most examples, where one that ignores pairs would be far too wide."""
    random = np.random.default_rng(0)
    cells = [Cell("reverse", length) for length in (10, 12, 14, 16)]
    held, widths = 0, []
    for _ in range(600):
        both = {cell: random.random(256) < 0.5 for cell in cells}
        flips = [{cell: random.random(256) < chance for cell in cells} for chance in (0.04, 0.08)]
        one, other = ({cell: both[cell] | flip[cell] for cell in cells} for flip in flips)
        found = paired_difference(one, other, [cells])
        assert found.interval is not None
        low, high = found.interval
        held += low <= 0.5 * (0.04 - 0.08) <= high
        widths.append(high - low)
    assert 0.93 <= held / 600 <= 0.99
    assert mean(widths) < 0.5 * 2 * 1.96 * math.sqrt(2 * 0.25 / 1024)


def test_frames_have_the_numbers_of_the_record_and_of_the_tables() -> None:
    compared = contest(
        system("mine", copy_mqar=[100, 90, 95], maze_path=[50, 60, 70]),
        system("rope", copy_mqar=[256, 250, 255], maze_path=[9] * 3),
    )
    (duel,) = contest_record(compared)["comparisons"]
    frame = contest_frame([compared])
    assert list(frame["group"].iloc[:2]) == ["copy-mqar", "maze-path"]
    for row in frame.iloc[:2].to_dict("records"):
        of_group = duel["groups"][row["group"]]
        assert (row["difference"], row["p"], row["corrected_p"]) == (
            of_group["difference"],
            of_group["p"],
            of_group["corrected_p"],
        )
        assert [row["low"], row["high"]] == of_group["interval"]
        assert row["gain_difference"] == of_group["gain"]["difference"]
    last = frame.iloc[-1]
    assert (last["verdict"], last["difference"]) == (duel["verdict"], duel["mean"]["difference"])
    assert last.isna()[["group", "task", "first_seeds"]].all()
    systems = contest_frame([compared], "systems")
    assert len(systems) == 4
    assert systems["accuracy"].iloc[0] == float(Fraction(285, 3 * 256))
    lengths = contest_frame([compared], "lengths")
    assert len(lengths) == 2 * (10 + 6)
    assert set(lengths["zone"]) == {"in_distribution", "transfer", "beyond"}
    assert lengths["lowest"].iloc[0] == 90 / 256
    with pytest.raises(UnknownNameError, match="'cells' is not a kind of rows"):
        contest_frame([compared], "cells")  # type: ignore[arg-type]
    with pytest.raises(LgbenchError, match="No two systems were compared"):
        contest_frame([contest(system("mine", copy_mqar=[1]), system("rope", maze_path=[1]))])
