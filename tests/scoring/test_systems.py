"""Group scores and systems, by hand."""

import statistics
from collections.abc import Sequence
from fractions import Fraction

import pytest

from lgbench.data.suites import Cell
from lgbench.results.schema import Result
from lgbench.scoring.comparison import median_horizon, same_experiment
from lgbench.scoring.measures import Horizon, wilson_interval
from lgbench.scoring.systems import score_open, score_trained
from lgbench.util.errors import LgbenchError
from tests.made_up import MINI, group_results, make_result


def test_a_group_by_hand() -> None:
    right = {"main_only": (0, 64), "transfer": (256, 128, 231), "control": (64,), "direct": (256,)}
    (group,) = score_trained(group_results("add-carry", right), MINI).groups
    assert group.covered
    assert group.score is not None
    assert group.score.value == Fraction(256 + 128 + 231, 3 * 256)
    assert not group.score.one_seed
    assert group.transfer_gain is not None
    assert group.transfer_gain.value == group.score.value - Fraction(1, 8)
    assert group.control_gain is not None
    assert group.control_gain.value == Fraction(1, 8)
    assert group.control_gain.one_seed
    over_control = group.gain_over("control")
    assert over_control is not None
    assert over_control.value == group.score.value - Fraction(1, 4)
    assert group.gain_over("short_aux") is None
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
    # Student's t of two degrees of freedom is 4.303 at 97.5 %.
    seeds = [1, 0.5, 231 / 256]
    reach = 4.303 * statistics.stdev(seeds) / 3**0.5
    assert group.score.interval == pytest.approx((statistics.mean(seeds) - reach, 1), abs=1e-4)
    assert transfer.success_interval == pytest.approx((0.0943, 0.9916), abs=5e-5)  # 2 of 3


def test_success_begins_at_nine_tenths_exactly() -> None:
    def right(cell: Cell) -> int:  # 3 cells of 256 and one of x in the transfer zone: 0.9 is 921.6 of 1024
        return {16: 154}.get(cell.length, 256)

    runs = [
        make_result(right, arm="transfer", group="copy-mqar", seed=0),
        make_result(lambda cell: right(cell) - (cell.length == 16), arm="transfer", group="copy-mqar", seed=1),
    ]
    (group,) = score_trained(runs, MINI).groups
    assert group.arms["transfer"].success_rate == Fraction(1, 2)
    assert not group.covered
    assert group.score is not None
    assert group.transfer_gain is None


@pytest.mark.parametrize(("direct", "share"), [(76, None), (77, Fraction(128 - 64, 77 - 64))])
def test_recovered_share_needs_a_ceiling_more_than_a_twentieth_above(direct: int, share: Fraction | None) -> None:
    right = {"main_only": (64,), "transfer": (128,), "direct": (direct,)}
    (group,) = score_trained(group_results("maze-path", right), MINI).groups
    assert group.recovered_share == share


def test_recovered_share_is_null_without_direct() -> None:
    (group,) = score_trained(group_results("maze-path", {"main_only": (0,), "transfer": (256,)}), MINI).groups
    assert group.recovered_share is None
    assert group.control_gain is None


def test_a_shared_main_only_run_serves_every_group_with_the_same_list() -> None:
    assert [each.name for each in same_experiment(MINI, "main_only", MINI.group("add-subtract"))] == [
        "add-carry",
        "add-subtract",
    ]
    assert len(same_experiment(MINI, "control", MINI.group("add-subtract"))) == 1  # other shares than add-carry's
    assert len(same_experiment(MINI, "main_only", MINI.group("add-multiply"))) == 1  # other lengths
    runs = group_results("add-subtract", {"main_only": (10, 20)})
    runs += group_results("add-carry", {"transfer": (30,), "main_only": (40,)})
    scores = score_trained(runs, MINI)
    carry, subtract = scores.groups
    # Seed 0 is add-carry's own, seed 1 comes from add-subtract; and the other way round.
    assert carry.arms["main_only"].zone("transfer") == Fraction(40 + 20, 512)
    assert subtract.arms["main_only"].zone("transfer") == Fraction(10 + 20, 512)
    assert [group.group.name for group in scores.covered] == ["add-carry"]


def test_runs_that_serve_two_groups_are_one_sample_of_both() -> None:
    runs = group_results("add-carry", {"main_only": (0, 64, 128), "transfer": (200, 220, 240)})
    runs += group_results("add-subtract", {"transfer": (100, 120, 140)})
    scores = score_trained(runs, MINI)
    baselines = [group.arms["main_only"].transfer for group in scores.groups]
    assert [list(each.weights) for each in baselines if each] == [list(baselines[0].weights)] * 2  # type: ignore[union-attr]
    assert scores.transfer_gain is not None
    own, shared = statistics.variance([200, 220, 240]), statistics.variance([0, 64, 128])
    assert scores.transfer_gain.variance == Fraction(int(own * 2 / 4 + shared), 3 * 256**2)


def everywhere(seeds: int, *, least: int = 0) -> list[Result]:
    """Runs of every group; group number n has 32 n, 32 n + 1, ... of each 256 replies of `transfer` right."""
    runs = []
    for number, group in enumerate(MINI.groups):
        right = {"main_only": (0,), "transfer": [32 * number + seed + least for seed in range(seeds)]}
        runs += group_results(group.name, right | ({"control": (16,)} if number < 2 else {}))
    return runs


@pytest.mark.parametrize(("seeds", "ranked"), [(3, False), (4, False), (5, True)])
def test_a_system_that_covers_the_suite(seeds: int, ranked: bool) -> None:
    runs = everywhere(seeds)
    scores = score_trained(runs, MINI)
    assert scores.covers_suite
    assert scores.seeds == (seeds,) * 7
    assert scores.is_ranked is ranked
    assert scores.score is not None
    of_groups = [Fraction(32 * number, 256) + Fraction(sum(range(seeds)), seeds * 256) for number in range(7)]
    assert scores.score.value == statistics.mean(of_groups)
    assert scores.score.count == 7
    assert scores.control_gain is not None
    assert (scores.control_gain.value, scores.control_gain.count) == (Fraction(1, 16), 2)
    beyond, count = scores.mean(lambda arm: arm.zone("beyond"))
    assert (beyond, count) == (scores.score.value, 7)
    fewer = score_trained([run for run in runs if run.group != "copy-mqar"], MINI)
    assert not fewer.covers_suite
    assert not fewer.is_ranked
    assert fewer.score is not None
    assert fewer.score.count == 6


def test_one_group_with_few_seeds_leaves_a_system_unranked() -> None:
    runs = [run for run in everywhere(5) if (run.group, run.arm, run.seed) != ("maze-path", "transfer", 4)]
    scores = score_trained(runs, MINI)
    assert scores.seeds == (4, 5, 5, 5, 5, 5, 5)
    assert not scores.is_ranked


def test_the_mean_over_domains_weighs_arithmetic_strings_and_mazes_alike() -> None:
    scores = score_trained(everywhere(3), MINI)
    arithmetic, strings, mazes = (0, 32, 64), (96, 128), (160, 192)
    assert scores.domain_score is not None
    by_hand = statistics.mean(statistics.mean(each) + 1 for each in (arithmetic, strings, mazes))
    assert float(scores.domain_score.value) == pytest.approx(by_hand / 256)
    assert scores.domain_score.count == 3
    variance = Fraction(1, 3 * 256**2)  # of each group's mean: its seeds are one reply apart
    parts = [variance / (3 * 9)] + [variance / (2 * 9)] * 2
    assert scores.domain_score.variance == sum(parts)
    no_mazes = score_trained([run for run in everywhere(3) if "maze" not in str(run.group)], MINI)
    assert no_mazes.domain_score is not None
    assert no_mazes.domain_score.count == 2


def test_the_difference_of_two_systems_has_the_variance_of_both() -> None:
    first, second = (score_trained(everywhere(5, least=least), MINI) for least in (10, 0))
    own, other = first.score, second.score
    assert own is not None
    assert other is not None
    difference, opposite = own - other, other - own
    assert (difference.value, difference.count) == (Fraction(10, 256), 7)
    assert difference.variance == own.variance * 2
    assert difference.p_value is not None
    assert difference.p_value < 1e-6
    assert opposite.value == -difference.value
    assert opposite.p_value == pytest.approx(difference.p_value)


def test_partial_limited_and_foreign_runs_do_not_count() -> None:
    (run,) = group_results("copy-mqar", {"transfer": (100,)})
    partial = run.model_copy(update={"cells": run.cells[1:]})
    limited = run.model_copy(update={"limit": 8})
    foreign = run.model_copy(update={"suite": "standard-v1"})
    for other in (partial, limited, foreign):
        scores = score_trained([other], MINI)
        assert scores.groups == ()
        assert scores.score is None
        assert scores.seeds == ()
    assert len(score_trained([run, partial], MINI).groups) == 1
    with pytest.raises(LgbenchError, match=r"arm 'transfer' of group 'copy-mqar' with seed 0"):
        score_trained([run, run], MINI)


def test_the_order_of_runs_changes_nothing() -> None:
    runs = group_results("copy-mqar", {"transfer": (10, 100, 200), "main_only": (1, 2, 3)})
    one, other = (score_trained(order, MINI) for order in (runs, runs[::-1]))
    assert one.score is not None
    assert other.score is not None
    assert (one.score.value, one.score.interval) == (other.score.value, other.score.interval)
    assert one.verdicts["copy-mqar"].word == other.verdicts["copy-mqar"].word


def test_open_systems() -> None:
    right = {"reverse_add": 256, "string_copy": 128, "capitalize_reverse": 64, "shortest_path": 32, "dfs_trace": 16}
    run = make_result(lambda cell: right.get(cell.task, 231) if cell.length < 20 else 0)  # 90.2 %
    scores = score_open([run], MINI)
    assert scores is not None
    assert scores.score is not None
    assert scores.score.value == Fraction(496, 5 * 256)
    assert scores.score.one_seed
    mean, by_task = 496 / 1280, [(1, 1024), (0.5, 1024), (0.25, 1024), (0.125, 512), (0.0625, 512)]
    # Zou and Donner's (2008) combination of the tasks' Wilson intervals, which have 1024 replies, in mazes 512.
    intervals = [(share, wilson_interval(round(share * total), total)) for share, total in by_task]
    reach = [sum(((share - low) / 5) ** 2 for share, (low, _) in intervals) ** 0.5]
    reach.append(sum(((high - share) / 5) ** 2 for share, (_, high) in intervals) ** 0.5)
    assert scores.score.interval == pytest.approx((mean - reach[0], mean + reach[1]))
    assert str(scores.horizons_90["reverse_add"]) == "18"
    assert str(scores.horizons_90["string_copy"]) == "<2"
    assert str(scores.horizons_50["string_copy"]) == "18"
    assert str(scores.horizons_90["cot_multiply"]) == "≥10"
    assert score_open([], MINI) is None


def test_an_open_run_is_one_observation_of_all_its_tasks() -> None:
    """Two tasks that rise and fall together leave the spread of the runs' means, not of each task alone."""
    runs = [make_result(lambda cell, right=right: right, seed=seed) for seed, right in enumerate((64, 128, 192))]  # type: ignore[misc]
    scores = score_open(runs, MINI)
    assert scores is not None
    assert scores.score is not None
    assert not scores.score.one_seed
    assert scores.score.count == 5
    assert scores.score.variance == Fraction(1, 16) / 3


@pytest.mark.parametrize(("lengths", "median"), [((0, 8, 20), 8), ((0, 8), 0), ((20,), 20), ((4, 20, 8, 6), 6)])
def test_the_median_horizon_is_one_of_them(lengths: Sequence[int], median: int) -> None:
    assert median_horizon(Horizon(length, 2, 20) for length in lengths) == Horizon(median, 2, 20)
