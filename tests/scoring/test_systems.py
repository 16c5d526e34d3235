"""Bootstrap, group scores and systems against a slow plain-Python route, and by hand."""

import statistics
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from lgbench.data.suites import Cell
from lgbench.data.task import Stream
from lgbench.scoring.bootstrap import _times_drawn, percentile_interval, resampled_accuracy
from lgbench.scoring.comparison import median_horizon, same_experiment
from lgbench.scoring.measures import Horizon
from lgbench.scoring.systems import score_open, score_trained
from lgbench.util.errors import LgbenchError
from tests.made_up import MINI, MadeUpRun, group_runs, make_run


def slow_resamples(runs: Sequence[MadeUpRun], cells: Sequence[Cell], key: str, resamples: int) -> list[float]:
    """The definition, word by word: seeds with replacement, then each cell's examples, the same for every seed."""
    seed_words = iter(Stream("lgbench", "mini-v1", "bootstrap", "seeds", key).words(resamples * len(runs)).tolist())
    example_words = {
        cell: iter(Stream("lgbench", "mini-v1", "bootstrap", "examples", *cell).words(resamples * 256).tolist())
        for cell in cells
    }
    means = []
    for _ in range(resamples):
        chosen = [runs[next(seed_words) % len(runs)] for _ in runs]
        accuracies = []
        for cell in cells:
            indices = [next(example_words[cell]) % 256 for _ in range(256)]
            accuracies += [statistics.mean(bool(run.correct[cell][index]) for index in indices) for run in chosen]
        means.append(statistics.mean(accuracies))
    return means


@pytest.mark.parametrize("seeds", [1, 3])
def test_resamples_follow_the_definition_word_by_word(seeds: int) -> None:
    runs = group_runs("copy-mqar", {"main_only": [40 * n + 7 for n in range(seeds)]})
    cells = [Cell("string_copy", 10), Cell("string_copy", 12)]
    fast = resampled_accuracy(runs, cells, key="copy-mqar/main_only", resamples=30)
    assert fast == pytest.approx(slow_resamples(runs, cells, "copy-mqar/main_only", 30))


def test_chunks_do_not_change_a_resample(monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(lambda cell: 100, arm="main_only", group="copy-mqar", seed=0)
    cells = [Cell("string_copy", 10)]
    whole = resampled_accuracy([run], cells, key="k", resamples=25)
    monkeypatch.setattr("lgbench.scoring.bootstrap._CHUNK", 10)
    monkeypatch.setattr("lgbench.scoring.bootstrap._times_drawn", _uncached_times_drawn())
    assert resampled_accuracy([run], cells, key="k", resamples=25).tolist() == whole.tolist()


def test_the_draws_of_every_scored_cell_are_kept() -> None:
    """With fewer places than cells, a board would draw each anew for every system."""
    assert _times_drawn.cache_parameters()["maxsize"] is None


def _uncached_times_drawn() -> Callable[..., NDArray[np.uint8]]:
    from lgbench.scoring import bootstrap

    function: Callable[..., NDArray[np.uint8]] = bootstrap._times_drawn.__wrapped__
    return function


def test_with_one_seed_the_interval_is_nearly_the_normal_one_over_examples() -> None:
    run = make_run(lambda cell: 160, arm="main_only", group="copy-mqar", seed=0)
    cells = [Cell("string_copy", length) for length in (10, 12, 14, 16)]
    low, high = percentile_interval(resampled_accuracy([run], cells, key="k"))
    spread = norm.ppf(0.975) * (0.625 * 0.375 / 1024) ** 0.5
    assert low == pytest.approx(0.625 - spread, abs=0.002)
    assert high == pytest.approx(0.625 + spread, abs=0.002)


def test_two_arms_that_get_the_same_examples_right_differ_by_exactly_nothing() -> None:
    runs = [make_run(lambda cell: 99, arm=arm, group="copy-mqar", seed=0) for arm in ("main_only", "transfer")]
    (group,) = score_trained(runs, MINI, resamples=100).groups
    assert group.transfer_gain is not None
    assert group.transfer_gain.value == 0
    assert group.transfer_gain.interval == (0, 0)


def test_a_group_by_hand() -> None:
    right = {"main_only": (0, 64), "transfer": (256, 128, 231), "control": (64,), "direct": (256,)}
    (group,) = score_trained(group_runs("add-carry", right), MINI, resamples=100).groups
    assert group.covered
    assert group.score is not None
    assert group.score.value == Fraction(256 + 128 + 231, 3 * 256)
    assert not group.score.one_seed
    assert group.transfer_gain is not None
    assert group.transfer_gain.value == group.score.value - Fraction(1, 8)
    assert group.control_gain is not None
    assert group.control_gain.value == Fraction(1, 8)
    assert group.control_gain.one_seed
    assert group.gain_over_control is not None
    assert group.gain_over_control.value == group.score.value - Fraction(1, 4)
    assert group.recovered_share == group.transfer_gain.value / Fraction(7, 8)
    transfer = group.arms["transfer"]
    assert transfer.success_rate == Fraction(2, 3)  # 231 of 256 is just over 90 %
    assert transfer.best_seed == 1
    assert transfer.gaps == {
        "no_carry": Fraction(64 + 64 + 39, 3 * 256),
        "carry_only": Fraction(64 + 64 + 39, 3 * 256),
    }
    assert transfer.gap == Fraction(64 + 64 + 39, 3 * 256)
    assert group.arms["control"].gap == Fraction(1, 2)
    assert group.arms["main_only"].gap is None
    assert str(transfer.horizon_90) == "≥20"
    assert str(group.arms["main_only"].horizon_50) == "<2"
    low, high = group.score.interval
    assert 0.4 < low < group.score.value < high <= 1


def test_success_begins_at_nine_tenths_exactly() -> None:
    def right(cell: Cell) -> int:  # 3 cells of 256 and one of x in the transfer zone: 0.9 is 921.6 of 1024
        return {16: 154}.get(cell.length, 256)

    runs = [
        make_run(right, arm="transfer", group="copy-mqar", seed=0),
        make_run(lambda cell: right(cell) - (cell.length == 16), arm="transfer", group="copy-mqar", seed=1),
    ]
    (group,) = score_trained(runs, MINI, resamples=10).groups
    assert group.arms["transfer"].success_rate == Fraction(1, 2)
    assert not group.covered
    assert group.score is not None
    assert group.transfer_gain is None


@pytest.mark.parametrize(("direct", "share"), [(76, None), (77, Fraction(128 - 64, 77 - 64))])
def test_recovered_share_needs_a_ceiling_more_than_a_twentieth_above(direct: int, share: Fraction | None) -> None:
    right = {"main_only": (64,), "transfer": (128,), "direct": (direct,)}
    (group,) = score_trained(group_runs("maze-path", right), MINI, resamples=10).groups
    assert group.recovered_share == share


def test_recovered_share_is_null_without_direct() -> None:
    (group,) = score_trained(
        group_runs("maze-path", {"main_only": (0,), "transfer": (256,)}), MINI, resamples=10
    ).groups
    assert group.recovered_share is None
    assert group.control_gain is None


def test_a_shared_main_only_run_serves_every_group_with_the_same_list() -> None:
    assert [each.name for each in same_experiment(MINI, "main_only", MINI.group("add-subtract"))] == [
        "add-carry",
        "add-subtract",
    ]
    assert len(same_experiment(MINI, "control", MINI.group("add-subtract"))) == 1  # other shares than add-carry's
    assert len(same_experiment(MINI, "main_only", MINI.group("add-multiply"))) == 1  # other lengths
    runs = group_runs("add-subtract", {"main_only": (10, 20)})
    runs += group_runs("add-carry", {"transfer": (30,), "main_only": (40,)})
    scores = score_trained(runs, MINI, resamples=10)
    carry, subtract = scores.groups
    # Seed 0 is add-carry's own, seed 1 comes from add-subtract; and the other way round.
    assert carry.arms["main_only"].zone("transfer") == Fraction(40 + 20, 512)
    assert subtract.arms["main_only"].zone("transfer") == Fraction(10 + 20, 512)
    assert [group.group.name for group in scores.covered] == ["add-carry"]


def test_a_system_that_covers_the_suite() -> None:
    runs: list[MadeUpRun] = []
    for number, group in enumerate(MINI.groups):
        right = {"main_only": (0,), "transfer": (32 * number,) * 3}
        runs += group_runs(group.name, right | ({"control": (16,)} if number < 2 else {}))
    scores = score_trained(runs, MINI, resamples=50)
    assert scores.covers_suite
    assert scores.seeds == (3,) * 7
    assert scores.has_enough_seeds
    assert scores.score is not None
    assert scores.score.value == Fraction(sum(32 * n for n in range(7)), 7 * 256)
    assert scores.score.count == 7
    assert scores.control_gain is not None
    assert (scores.control_gain.value, scores.control_gain.count) == (Fraction(1, 16), 2)
    by_hand = np.mean([group.score.resampled for group in scores.groups if group.score], axis=0)
    assert scores.score.interval == percentile_interval(by_hand)
    beyond, count = scores.mean(lambda arm: arm.zone("beyond"))
    assert (beyond, count) == (scores.score.value, 7)
    without_one = score_trained([run for run in runs if run.result.group != "copy-mqar"], MINI, resamples=10)
    assert not without_one.covers_suite
    assert without_one.score is not None
    assert without_one.score.count == 6


def test_partial_limited_and_foreign_runs_do_not_count() -> None:
    (run,) = group_runs("copy-mqar", {"transfer": (100,)})
    partial = run._replace(result=run.result.model_copy(update={"cells": run.result.cells[1:]}))
    limited = run._replace(result=run.result.model_copy(update={"limit": 8}))
    foreign = run._replace(result=run.result.model_copy(update={"suite": "standard-v1"}))
    for other in (partial, limited, foreign):
        scores = score_trained([other], MINI, resamples=10)
        assert scores.groups == ()
        assert scores.score is None
        assert scores.seeds == ()
    assert len(score_trained([run, partial], MINI, resamples=10).groups) == 1
    with pytest.raises(LgbenchError, match=r"arm 'transfer' of group 'copy-mqar' with seed 0"):
        score_trained([run, run], MINI)


def test_the_order_of_runs_changes_nothing() -> None:
    runs = group_runs("copy-mqar", {"transfer": (10, 100, 200), "main_only": (1, 2, 3)})
    one, other = (score_trained(order, MINI, resamples=50) for order in (runs, runs[::-1]))
    assert one.score is not None
    assert other.score is not None
    assert one.score.resampled.tolist() == other.score.resampled.tolist()


def test_open_systems() -> None:
    right = {"reverse_add": 256, "string_copy": 128, "capitalize_reverse": 64, "shortest_path": 32, "dfs_trace": 16}
    run = make_run(lambda cell: right.get(cell.task, 231) if cell.length < 20 else 0)  # 90.2 %
    scores = score_open([run], MINI, resamples=100)
    assert scores is not None
    assert scores.score is not None
    assert scores.score.value == Fraction(496, 5 * 256)
    assert scores.score.one_seed
    low, high = scores.score.interval
    assert low < 496 / (5 * 256) < high
    assert str(scores.horizons_90["reverse_add"]) == "18"
    assert str(scores.horizons_90["string_copy"]) == "<2"
    assert str(scores.horizons_50["string_copy"]) == "18"
    assert str(scores.horizons_90["cot_multiply"]) == "≥10"
    assert score_open([], MINI) is None


@pytest.mark.parametrize(("lengths", "median"), [((0, 8, 20), 8), ((0, 8), 0), ((20,), 20), ((4, 20, 8, 6), 6)])
def test_the_median_horizon_is_one_of_them(lengths: Sequence[int], median: int) -> None:
    assert median_horizon(Horizon(length, 2, 20) for length in lengths) == Horizon(median, 2, 20)


def resampled_seeds(generator: np.random.Generator, seeds: int) -> NDArray[np.float64]:
    """The mean in every resample of an arm whose seeds vary normally around 0, with no error from examples."""
    means: NDArray[np.float64] = generator.normal(size=seeds)[generator.integers(seeds, size=(1000, seeds))].mean(
        axis=1
    )
    return means


@pytest.mark.parametrize(
    ("seeds", "covered", "seen"), [(2, 0.50, 0.08), (3, 0.75, 0.04), (5, 0.83, 0.02), (10, 0.90, 0.01)]
)
@pytest.mark.slow
def test_few_seeds_have_the_coverage_that_the_protocol_admits(seeds: int, covered: float, seen: float) -> None:
    generator = np.random.default_rng(0)
    covers, sees = [], []
    for _ in range(2000):
        transfer, *others = (resampled_seeds(generator, seeds) for _ in range(3))
        low, high = percentile_interval(transfer)
        covers.append(low <= 0 <= high)
        sees.append(all(percentile_interval(transfer - other)[0] > 0 for other in others))
    assert statistics.mean(covers) == pytest.approx(covered, abs=0.03)
    assert statistics.mean(sees) == pytest.approx(seen, abs=0.015)
