"""What `lgbench compare` and `reproduce` print of the arms of a group, and what they conclude."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pytest

from lgbench.cli.comparison import _points, comparison_record, print_comparison, verdict
from lgbench.scoring.comparison import Estimate
from lgbench.scoring.display import percent
from lgbench.scoring.systems import score_trained
from lgbench.suites import Cell
from tests.made_up import MINI, MadeUpRun, make_run

GROUP = MINI.group("capitalize-reverse")


def run(arm: str, seed: int, share: float, *, others: Mapping[str, float] | None = None) -> MadeUpRun:
    """A run that has a share of the transfer zone of the main task right, and all else unless `others` says less."""

    def correct(cell: Cell) -> int:
        if cell.task == GROUP.main:
            return round(256 * (share if GROUP.zone(cell.length) == "transfer" else 1))
        return round(256 * (others or {}).get(cell.task, 1))

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
        ["transfer", "capitalize", *["37.5"] * 10, "▄" * 10],
        ["transfer", "reverse", *["100"] * 10, "█" * 10],
        ["control", "repeat_first", *["0.4"] * 10, "▂" * 10],
    ]
    (record,) = comparison_record(scores)
    others = {arm: each["others"] for arm, each in record["arms"].items()}
    assert {arm: list(of_arm) for arm, of_arm in others.items()} == {
        "main_only": [],
        "transfer": ["capitalize", "reverse"],
        "control": ["repeat_first"],
    }
    assert others["transfer"]["capitalize"]["lengths"] == [
        {"length": length, "by_seed": [0.25, 0.5]} for length in GROUP.grid
    ]


def test_arms_of_the_main_task_alone_have_no_table_of_others(capsys: pytest.CaptureFixture[str]) -> None:
    print_comparison(score_trained([run("main_only", 0, 0), run("direct", 0, 1)], MINI))
    assert "auxiliary and control" not in capsys.readouterr().out
