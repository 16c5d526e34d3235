"""What `lgbench compare` and `reproduce` print of the arms of a group, and what they conclude."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction

import pytest
from rich.console import Console

from lgbench.cli import _tables
from lgbench.cli._tables import print_parts
from lgbench.data.suites import Cell
from lgbench.results.schema import Result
from lgbench.scoring.display import percent, points
from lgbench.scoring.estimates import Estimate, Sample
from lgbench.scoring.measures import Interval, wilson_interval
from lgbench.scoring.systems import TrainedScores, score_trained
from lgbench.scoring.verdicts import _points, comparison_parts, comparison_record
from tests.made_up import MINI, make_result

GROUP = MINI.group("capitalize-reverse")


def print_comparison(scores: TrainedScores) -> None:
    print_parts(comparison_parts(scores))


def run(arm: str, seed: int, share: float, *, others: Mapping[str, float] | None = None) -> Result:
    """A run that has a share of the transfer zone of the main task right, and all else of it.

    The other tasks are right up to their training length, unless `others` says less, and wrong beyond.
    """

    def correct(cell: Cell) -> int:
        zone = GROUP.zone(cell.length)
        if cell.task == GROUP.main:
            return round(256 * (share if zone == "transfer" else 1))
        return round(256 * (others or {}).get(cell.task, 1)) if zone != "beyond" else 0

    return make_result(correct, arm=arm, group=GROUP.name, seed=seed)


def printed(
    shares: Mapping[str, float], seeds: int, capsys: pytest.CaptureFixture[str], **others: Mapping[str, float]
) -> list[str]:
    """What is printed of arms with the same share in every seed, a reply less in each seed than in the one before."""
    runs = [
        run(arm, seed, max(0.0, share - seed / 256), others=others.get(arm))
        for arm, share in shares.items()
        for seed in range(seeds)
    ]
    print_comparison(score_trained(runs, MINI))
    return capsys.readouterr().out.splitlines()


def test_the_verdict_comes_first_with_its_gains_and_caveats(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed({"main_only": 0, "transfer": 0.75, "control": 0.25}, 5, capsys, control={"repeat_first": 0.25})
    assert lines[: lines.index("")] == [
        "Was transfer seen?",
        "capitalize-reverse: seen",
        "  over main_only: +74.2 points (95 % interval +73.5 to +75.0, p = 0.004)",
        "  over control: +50.0 points (95 % interval +49.1 to +50.9, p = 0.004)",
        "  control did not learn repeat_first (25.0 % up to length 16): the gain over it says less",
    ]
    assert not [line for line in lines if line.startswith(("Transfer gain", "Gain over"))], "each gain once"
    lines = printed({"main_only": 0, "transfer": 0.75, "control": 0.25, "short_aux": 0}, 3, capsys)
    assert [line for line in lines[: lines.index("")] if "over main_only" not in line] == [
        "Was transfer seen?",
        "capitalize-reverse: consistent with transfer",
        "  over control: +50.0 points (95 % interval +49.1 to +50.9, p = 0.050)",
        "  over short_aux: +74.6 points (95 % interval +73.6 to +75.6, p = 0.050)",
        "  3 seeds in every arm: 5 are needed for 'seen'",
    ]
    lines = printed({"main_only": 0, "transfer": 0}, 3, capsys)
    assert lines[: lines.index("")] == [
        "Was transfer seen?",
        "capitalize-reverse: not testable",
        "  over main_only: 0 points (no interval: in each arm all seeds are equal, p = 1.000)",
        "  neither control nor short_aux ran, so long inputs alone may be why",
    ]


def test_a_correction_for_several_groups_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        make_result(
            lambda cell, right=right: right if cell.task in MINI.main_tasks else 256,  # type: ignore[misc]
            arm=arm,
            group=group,
            seed=seed,
        )
        for group in ("copy-mqar", "capitalize-reverse")
        for arm, right in (("main_only", 0), ("control", 0), ("transfer", 256))
        for seed in range(5)
    ]
    print_comparison(score_trained(runs, MINI))
    lines = capsys.readouterr().out.splitlines()
    place = lines.index("copy-mqar: seen")
    assert lines[place - 1] == "Was transfer seen?"
    gain = "+100.0 points (no interval: in each arm all seeds are equal, p = 0.004)"
    assert lines[place + 1 : place + 4] == [
        f"  over main_only: {gain}",
        f"  over control: {gain}",
        "  p = 0.008 after Holm's correction for 2 groups",
    ]
    assert lines.count(f"  over main_only: {gain}") == 2
    equal = "all 5 seeds are equal; 0 of 5 reach 90 %, so 0 to 52.2 % of all seeds may"
    assert lines.count(f"main_only: {equal}") == 2
    equal = "all 5 seeds are equal; 5 of 5 reach 90 %, so 47.8 to 100 % of all seeds may"
    assert lines.count(f"transfer: {equal}") == 2


def test_the_record_has_the_verdict_and_what_it_rests_on() -> None:
    shares = {"main_only": 0.0, "transfer": 0.75, "control": 0.5}
    runs = [run(arm, seed, share - 0.125 * seed * (share > 0)) for arm, share in shares.items() for seed in range(3)]
    (record,) = comparison_record(score_trained(runs, MINI))
    assert record["verdict"] == {
        "word": "not seen",
        "reason": "the p over control is above 0.05",
        "caveats": [],
        "p": {"main_only": 0.05, "control": 0.1},
        "corrected_p": None,
        "tests": 0,
    }
    assert record["transfer_gain"]["value"] == 0.625
    assert record["arms"]["main_only"]["transfer"] == {"value": 0.0, "interval": None, "one_seed": False}
    assert record["arms"]["main_only"]["success_interval"] == pytest.approx([0, 0.7076], abs=5e-5)
    (record,) = comparison_record(score_trained([run("main_only", 0, 0.5)], MINI))
    assert record["verdict"]["word"] == "not testable"
    assert record["verdict"]["reason"] == "transfer did not run"
    assert record["arms"]["main_only"]["transfer"]["one_seed"]
    assert record["arms"]["main_only"]["transfer"]["interval"] == [*wilson_interval(512, 1024)]


def test_the_accuracy_of_another_task_is_the_mean_of_its_seeds() -> None:
    runs = [run("control", seed, 0, others={"repeat_first": share}) for seed, share in enumerate((0.25, 1.0))]
    runs.append(run("main_only", 0, 0))
    arms = score_trained(runs, MINI).groups[0].arms
    assert arms["control"].others == {"repeat_first": Fraction(5, 8)}
    assert arms["main_only"].others == {}


def test_a_loss_that_rounds_to_nothing_has_no_minus() -> None:
    sample = Sample((Fraction(1, 10000),), Interval(0.0001, 0.0001))
    loss = Estimate({sample: Fraction(-1)})
    assert _points(loss) == "0.0 points (95 % interval within 0.1 of it, one seed: over examples alone)"
    assert points(Fraction()) == "0"


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
    heading, table = re.split("^capitalize-reverse: ", capsys.readouterr().out, flags=re.MULTILINE)[3].split("\n", 1)
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
        monkeypatch.setattr(_tables, "wide_console", lambda: Console(width=width))
        print_comparison(score_trained([run("transfer", 0, 0.5)], MINI))
        return [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip().startswith("arm ")]

    wide, narrow = headings(120), headings(70)
    assert wide[1].endswith("18  20       curve")
    assert wide[0].endswith("curve")
    assert [line.removesuffix("curve").rstrip() for line in wide[:2]] == narrow[:2]
    assert wide[2] == narrow[2], "of zones, where every column is a number"
