"""What `lgbench compare` and `reproduce` print of the arms of a group, and what they conclude."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest
from rich.console import Console

from lgbench.cli import _report as report
from lgbench.cli._report import print_parts
from lgbench.data.suites import Cell
from lgbench.scoring.comparison import Estimate
from lgbench.scoring.display import percent
from lgbench.scoring.systems import TrainedScores, score_trained
from lgbench.scoring.verdicts import _points, comparison_parts, comparison_record, verdict
from tests.made_up import MINI, MadeUpRun, make_run

GROUP = MINI.group("capitalize-reverse")


def print_comparison(scores: TrainedScores) -> None:
    print_parts(comparison_parts(scores))


def run(arm: str, seed: int, share: float, *, others: Mapping[str, float] | None = None) -> MadeUpRun:
    """A run that has a share of the transfer zone of the main task right, and all else of it.

    The other tasks are right up to their training length, unless `others` says less, and wrong beyond.
    """

    def correct(cell: Cell) -> int:
        zone = GROUP.zone(cell.length)
        if cell.task == GROUP.main:
            return round(256 * (share if zone == "transfer" else 1))
        return round(256 * (others or {}).get(cell.task, 1)) if zone != "beyond" else 0

    return make_run(correct, arm=arm, group=GROUP.name, seed=seed)


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"main_only": 0.0, "transfer": 0.75, "control": 0.0}, "transfer was seen: +75.0 points (95 % interval"),
        ({"main_only": 0.0, "transfer": 0.75, "control": 0.75}, "transfer was not seen: +75.0 points"),
        ({"main_only": 0.5, "transfer": 0.5, "control": 0.0}, "transfer was not seen: +0.0 points"),
        ({"main_only": 0.0, "transfer": 0.75}, "no control ran, so length alone may be why"),
        ({"transfer": 0.75}, "not decided"),
        ({"main_only": 0.0, "transfer": 0.0}, "(95 % interval +0.0 to +0.0) over main_only."),
    ],
)
def test_the_verdict_needs_both_gains(shares: dict[str, float], words: str) -> None:
    runs = [run(arm, seed, share) for arm, share in shares.items() for seed in range(3)]
    assert words in verdict(score_trained(runs, MINI).groups[0])


def concluded(gained: float, *, capitalize: float = 1, reverse: float = 1, repeat_first: float | None = 1) -> str:
    """The verdict of two seeds: what `transfer` gained, and how much of the other tasks is right; None for no control.

    `main_only` and `control` have half of the transfer zone right, so that less than 0.5 is a loss.
    """
    others = {"capitalize": capitalize, "reverse": reverse}
    runs = [run("main_only", seed, 0.5) for seed in range(2)]
    runs += [run("transfer", seed, 0.5 + gained, others=others) for seed in range(2)]
    if repeat_first is not None:
        runs += [run("control", seed, 0.5, others={"repeat_first": repeat_first}) for seed in range(2)]
    return verdict(score_trained(runs, MINI).groups[0])


def test_a_missing_transfer_is_told_with_the_auxiliaries_that_were_not_learned() -> None:
    assert concluded(0).endswith("(95 % interval +0.0 to +0.0) over the control.")
    assert concluded(0, reverse=0.5).endswith(
        "over the control; but the auxiliary reverse was not learned, with 50.0 % up to its training length 16."
    )
    assert concluded(0, capitalize=0, reverse=0.5, repeat_first=None).endswith(
        "over main_only; but the auxiliary capitalize was not learned, with 0 % up to its training length 16, "
        "and the auxiliary reverse was not learned, with 50.0 % up to its training length 16."
    )
    assert "not learned" not in concluded(0.25, reverse=0.5), "where transfer was seen, what it learned sufficed"


@pytest.mark.parametrize("gained", [0.25, 0.5])
def test_a_baseline_that_did_not_learn_the_main_task_is_told(gained: float) -> None:
    untrained = make_run(lambda cell: 128 if cell.length <= 8 else 0, arm="main_only", group=GROUP.name, seed=0)
    (scores,) = score_trained([untrained, run("transfer", 0, gained)], MINI).groups
    told = "the main task was not learned, with 50.0 % in distribution under main_only, so the gain over it says less"
    assert f"so length alone may be why; {told}; some arm has one seed" in verdict(scores)


@pytest.mark.parametrize("gained", [-0.25, 0, 0.25])
def test_a_control_task_that_was_not_learned_is_told_whatever_was_gained(gained: float) -> None:
    assert concluded(gained, repeat_first=0.25).endswith(
        "over the control; the control task repeat_first was not learned, with 25.0 % up to its training length 16, "
        "so the gain over the control says less."
    )
    assert "not learned" not in concluded(gained)


@pytest.mark.parametrize(("right", "learned"), [(1843, False), (1844, True)])
def test_a_task_is_learned_from_nine_tenths_up_to_its_training_length(right: int, learned: bool) -> None:
    """Nine tenths of 8 lengths with 256 replies each are 1843.2 replies."""

    def correct(cell: Cell) -> int:
        if cell.task != "reverse" or cell.length < 16:
            return 256
        return right - 7 * 256 if cell.length == 16 else 0

    transfer = make_run(correct, arm="transfer", group=GROUP.name, seed=0)
    (scores,) = score_trained([run("main_only", 0, 1), transfer], MINI).groups
    assert scores.arms["transfer"].others == {"capitalize": 1, "reverse": Fraction(right, 2048)}
    assert ("the auxiliary reverse was not learned" in verdict(scores)) is not learned


def test_the_accuracy_of_another_task_is_the_mean_of_its_seeds() -> None:
    runs = [run("control", seed, 0, others={"repeat_first": share}) for seed, share in enumerate((0.25, 1.0))]
    runs.append(run("main_only", 0, 0))
    arms = score_trained(runs, MINI).groups[0].arms
    assert arms["control"].others == {"repeat_first": Fraction(5, 8)}
    assert arms["main_only"].others == {}


def test_a_loss_that_rounds_to_nothing_has_no_minus() -> None:
    loss = Estimate(Fraction(-1, 10000), np.full(100, -0.0001), one_seed=False)
    assert _points(loss) == "+0.0 points (95 % interval +0.0 to +0.0)"


def test_only_what_is_all_right_is_shown_as_100(capsys: pytest.CaptureFixture[str]) -> None:
    assert [percent(Fraction(right, 2560)) for right in (0, 1, 1280, 2559, 2560)] == [
        "0",
        "0.0",
        "50.0",
        "100.0",
        "100",
    ]
    assert percent(None) == "-"
    print_comparison(score_trained([run("direct", 0, 255 / 256)], MINI))
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith(" direct ")]
    assert [row[5:7] for row in rows] == [["99.6", "99.6"], ["100", "99.6"]]


def test_the_comparison_shows_the_spread_of_seeds_and_the_share_of_the_ceiling(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shares = {"main_only": (0.125, 0.125), "transfer": (0.25, 0.75, 0.5), "direct": (0.875,)}
    runs = [run(arm, seed, share) for arm, own in shares.items() for seed, share in enumerate(own)]
    print_comparison(score_trained(runs, MINI))
    lines = capsys.readouterr().out.splitlines()
    known, beyond = ["100"] * 4, ["100"] * 2  # the lengths before and after the transfer zone's four
    by_length = lines[: next(number for number, line in enumerate(lines) if "auxiliary and control" in line)]
    rows = [line.split() for line in by_length if re.match(" (main_only|transfer|direct|  (low|high)est) ", line)]
    assert [(row[0], row[1:11]) for row in rows] == [
        ("main_only", [*known, *["12.5"] * 4, *beyond]),
        ("lowest", [*known, *["12.5"] * 4, *beyond]),
        ("highest", [*known, *["12.5"] * 4, *beyond]),
        ("transfer", [*known, *["50.0"] * 4, *beyond]),
        ("lowest", [*known, *["25.0"] * 4, *beyond]),
        ("highest", [*known, *["75.0"] * 4, *beyond]),
        ("direct", [*known, *["87.5"] * 4, *beyond]),
    ]
    assert "Recovered share of what direct training gains: 50.0 %" in lines
    print_comparison(score_trained(runs[:-1], MINI))
    assert "Recovered" not in capsys.readouterr().out


def test_the_tasks_beside_the_main_task_have_a_row_each(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run("main_only", 0, 0), run("control", 0, 0, others={"repeat_first": 1 / 256})]
    runs += [run("transfer", seed, 0, others={"capitalize": share}) for seed, share in enumerate((0.25, 0.5))]
    scores = score_trained(runs, MINI)
    print_comparison(scores)
    heading, table = re.split("^capitalize-reverse: ", capsys.readouterr().out, flags=re.MULTILINE)[2].split("\n", 1)
    assert heading == "auxiliary and control tasks by length (trained to 16), exact match in %, mean over seeds"
    assert [line.split() for line in table.splitlines() if re.match(r" \w", line)] == [
        ["arm", "task", *map(str, GROUP.grid), "curve"],
        ["transfer", "capitalize", *["37.5"] * 8, "0", "0", "▄" * 8 + "▁▁"],
        ["transfer", "reverse", *["100"] * 8, "0", "0", "█" * 8 + "▁▁"],
        ["control", "repeat_first", *["0.4"] * 8, "0", "0", "▂" * 8 + "▁▁"],
    ]
    (record,) = comparison_record(scores)
    others = {arm: each["others"] for arm, each in record["arms"].items()}
    assert {arm: list(of_arm) for arm, of_arm in others.items()} == {
        "main_only": [],
        "transfer": ["capitalize", "reverse"],
        "control": ["repeat_first"],
    }
    assert others["transfer"]["capitalize"] == {
        "trained_accuracy": 0.375,
        "lengths": [
            {"length": length, "by_seed": [0.25, 0.5] if length <= 16 else [0.0, 0.0]} for length in GROUP.grid
        ],
    }


def test_arms_of_the_main_task_alone_have_no_table_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(score_trained([run("main_only", 0, 0), run("direct", 0, 1)], MINI))
    assert "auxiliary and control" not in capsys.readouterr().out


def test_a_narrow_terminal_shows_all_numbers_and_no_curve(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def headings(width: int) -> list[str]:
        monkeypatch.setattr(report, "wide_console", lambda: Console(width=width))
        print_comparison(score_trained([run("transfer", 0, 0.5)], MINI))
        return [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("arm ")]

    wide, narrow = headings(120), headings(70)
    assert wide[1].endswith("18  20       curve")
    assert wide[0].endswith("curve")
    assert [line.removesuffix("curve").rstrip() for line in wide[:2]] == narrow[:2]
    assert wide[2] == narrow[2], "of zones, where every column is a number"
