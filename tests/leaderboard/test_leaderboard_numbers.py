"""Shares and points as the board writes them."""

from fractions import Fraction

import pytest

from lgbench.data.suites import Cell
from lgbench.leaderboard.build import derive_files
from lgbench.leaderboard.markdown import estimated, points
from lgbench.results.schema import Result
from lgbench.scoring.display import percent
from lgbench.scoring.estimates import Estimate, Sample
from lgbench.scoring.measures import Interval
from tests.leaderboard.test_leaderboard import made_up, tables
from tests.made_up import make_result


@pytest.mark.parametrize(
    ("usual", "other", "usually", "zone"),
    [(0, 0, "0", "0"), (0, 1, "0", "0.0"), (256, 255, "100", "100.0"), (256, 256, "100", "100")],
)
def test_only_what_is_all_right_or_all_wrong_lacks_a_decimal(usual: int, other: int, usually: str, zone: str) -> None:
    """Ten seeds, all replies of which are right or wrong, but for one of 10240 in the transfer zone."""

    def seed_run(seed: int) -> Result:
        def correct(cell: Cell) -> int:
            return other if (seed, cell.length) == (0, 10) else usual

        return make_result(correct, arm="main_only", group="add-carry", seed=seed)

    page = derive_files([made_up("mine", [seed_run(seed) for seed in range(10)])])["systems/mine.md"]
    row = tables(page)[1][0]
    assert (row["in-distribution"], row["transfer"].partition(" ")[0].strip("‡")) == (usually, zone)
    assert f": {usually} at 2," in page
    assert f" {zone} at 10," in page, "the picture in words"


def test_numbers_are_shown_with_one_decimal() -> None:
    assert percent(Fraction(2, 3)) == "66.7"
    assert percent(None) == "-"
    assert [points(Fraction(n, 10000)) for n in (-4, 0, 4, 6, -6)] == ["0.0", "0.0", "0.0", "+0.1", "-0.1"]


def test_a_bound_that_rounds_to_nothing_has_no_minus() -> None:
    sample = Sample((Fraction(1, 10000),), Interval(0.0001, 0.0001))
    assert estimated(Estimate({sample: Fraction(-1)}), signed=True) == "0.0 [0.0, 0.0]†"
    assert percent(Fraction(-1, 10000)) == "0.0"  # a recovered share


def test_the_bounds_of_an_accuracy_are_shown_as_accuracies_are() -> None:
    seeds = Sample((Fraction(0), Fraction(1), Fraction(1)), Interval(0, 1))
    both = Estimate({seeds: Fraction(1)})
    assert (estimated(both), estimated(both, signed=True)) == ("66.7 [0, 100]", "+66.7 [0.0, 100.0]")


@pytest.mark.parametrize(("value", "accuracy", "gain"), [(0, "0‡", "0.0‡"), (1, "100‡", "+100.0‡")])
def test_equal_seeds_have_a_mark_and_no_interval(value: int, accuracy: str, gain: str) -> None:
    same = Estimate({Sample((Fraction(value),) * 3, Interval(0, 1)): Fraction(1)})
    assert (estimated(same), estimated(same, signed=True)) == (accuracy, gain)
