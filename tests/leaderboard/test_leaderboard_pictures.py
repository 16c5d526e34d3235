"""The pictures of the board: every number at its place, the same in words, the same bytes wherever they are drawn."""

import html
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from markdown_it import MarkdownIt

from lgbench.data.groups import TRAINED_ARMS
from lgbench.data.suites import load_suite
from lgbench.leaderboard.build import derive_files
from lgbench.leaderboard.pictures import open_picture, system_pictures
from lgbench.leaderboard.scored import SuiteScores, score_submission
from lgbench.results.schema import Result
from lgbench.scoring.styles import ARM_STYLES
from lgbench.scoring.systems import OpenScores
from tests.leaderboard.test_leaderboard import made_up
from tests.made_up import MINI, group_results, make_result

ROOT = Path(__file__).parents[2]
GROUP = MINI.group("copy-mqar")
SVG = "{http://www.w3.org/2000/svg}"
ZERO, HUNDRED = 275, 65
"""Where 0 % and 100 % stand, in pixels from above: read off the lines of the grid in a test."""


def falling(seeds: int, *arms: str) -> list[Result]:
    """Runs that get all right to length 8 and less from there, each seed and arm its own share."""
    return [
        make_result(
            lambda cell, lost=lost: 256 if cell.length <= 8 else 256 - 8 * lost,  # type: ignore[misc]
            arm=arm,
            group=GROUP.name,
            seed=seed,
        )
        for lost, (arm, seed) in enumerate(itertools.product(arms, range(seeds)), start=1)
    ]


def scored(runs: Sequence[Result]) -> SuiteScores:
    (scores,) = score_submission(made_up("mine", runs))
    return scores


def drawn(runs: Sequence[Result]) -> ET.Element:
    (picture,) = system_pictures(scored(runs))
    return ET.fromstring(picture.svg())


def heights(line: ET.Element) -> list[float]:
    return [float(point.partition(",")[2]) for point in line.attrib["points"].split()]


def pixels(*shares: float) -> object:
    return pytest.approx([ZERO - share * (ZERO - HUNDRED) for share in shares], abs=0.06)


def texts(svg: ET.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


def test_0_and_100_percent_stand_at_their_lines() -> None:
    svg = drawn(falling(1, "transfer"))
    grid = [float(line.attrib["y1"]) for line in svg.iter(f"{SVG}line") if line.attrib["y1"] == line.attrib["y2"]]
    assert grid[:5] == pixels(0, 0.25, 0.5, 0.75, 1)


def test_each_seed_is_thin_and_the_mean_bold() -> None:
    lines = list(drawn(falling(2, "main_only", "transfer")).iter(f"{SVG}polyline"))
    curves = [line for line in lines if len(heights(line)) == len(GROUP.grid)]
    assert [line.attrib["stroke-width"] for line in curves] == ["0.9", "0.9", "2.4"] * 2
    assert [line.attrib["stroke"] for line in curves] == [
        ARM_STYLES[arm].color for arm in ("main_only", "transfer") for _ in range(3)
    ]
    last = [1 - lost / 32 for lost in (1, 2, 1.5, 3, 4, 3.5)]
    for line, share in zip(curves, last, strict=True):
        assert heights(line) == pixels(*[1.0] * 4, *[share] * 6)
    assert len(lines) == len(curves) + 2, "and a sample of each in the legend"


def test_one_seed_is_drawn_once() -> None:
    svg = drawn(falling(1, *TRAINED_ARMS))
    curves = [line for line in svg.iter(f"{SVG}polyline") if len(heights(line)) == len(GROUP.grid)]
    assert [line.attrib["stroke-width"] for line in curves] == ["2.4"] * len(TRAINED_ARMS)
    assert {f"{arm} (1 seed)" for arm in TRAINED_ARMS} < set(texts(svg))
    assert not any("thin" in text for text in texts(svg))


def test_zones_and_dashed_lines_stand_at_the_training_lengths() -> None:
    svg = drawn(falling(1, "transfer"))
    labels = {text.text: float(text.attrib["x"]) for text in svg.iter(f"{SVG}text")}
    upright = [line for line in svg.iter(f"{SVG}line") if line.attrib["x1"] == line.attrib["x2"]]
    assert [float(line.attrib["x1"]) for line in upright] == [labels["8"], labels["16"]]
    assert all(line.attrib["stroke-dasharray"] for line in upright)
    zones = list(svg.iter(f"{SVG}rect"))[1:]
    assert [float(zone.attrib["x"]) for zone in zones][1:] == [labels["8"], labels["16"]]
    assert labels["in-distribution"] < labels["transfer"] < labels["beyond"]


def test_text_fits_in_a_wide_font() -> None:
    """A character of such labels is on average less than 0.53 of the font's size wide in DejaVu Sans, 0.6 if bold."""
    titles = [f"{group.name} on standard-v1: exact match of {group.main} in %" for group in MINI.groups]
    assert 46 + max(map(len, titles)) * 0.6 * 13 < 720
    svg = drawn([make_result(lambda cell: 200, seed=seed) for seed in range(3)])
    beside = [text for text in svg.iter(f"{SVG}text") if float(text.attrib["x"]) > 500]
    assert {text.text for text in beside} >= {"capitalize_reverse (3 seeds)", "bold: mean, thin: each seed"}
    for text in beside:
        assert float(text.attrib["x"]) + len(text.text or "") * 0.53 * int(text.attrib["font-size"]) < 720


def test_the_words_hold_every_number() -> None:
    (picture,) = system_pictures(scored(falling(2, "main_only", "transfer")))
    assert "main_only (2 seeds): 100 at 2, 100 at 4, 100 at 6, 100 at 8, 95.3 at 10," in picture.text
    assert "transfer (2 seeds): 100 at 2" in picture.text
    assert "89.1 at 20." in picture.text
    svg = ET.fromstring(picture.svg())
    assert svg.findtext(f"{SVG}desc") == picture.text


def test_pages_show_their_pictures_with_these_words() -> None:
    runs = [*group_results("add-carry", {"main_only": [3], "transfer": [4, 5]}), *falling(1, "control")]
    submission = made_up("mine", [*runs, make_result(lambda cell: 100)])
    files = derive_files([submission])
    page = MarkdownIt("commonmark").enable("table").render(files["systems/mine.md"])
    shown = dict(re.findall(r'<img src="([^"]*)" alt="([^"]*)" />', page))
    (scores,) = score_submission(submission)
    assert {path: html.unescape(text) for path, text in shown.items()} == {
        picture.path: picture.text for picture in system_pictures(scores)
    }
    names = {"mine/mini-v1-add-carry.svg", "mine/mini-v1-copy-mqar.svg", "mine/mini-v1-open.svg"}
    assert set(shown) == names
    drawn = {path.removeprefix("systems/") for path in files if path.endswith(".svg")}
    small = re.findall(
        r'<img src="systems/([^"]*)"', MarkdownIt("commonmark").enable("table").render(files["README.md"])
    )
    assert len(small) == len(set(small)) == 2 + len(MINI.main_tasks)
    assert drawn == names | set(small)


@pytest.mark.parametrize("suite", ["mini-v1", "standard-v1"])
def test_every_main_task_of_an_open_run_has_a_look_of_its_own(suite: str) -> None:
    own = load_suite(suite)
    result = make_result(lambda cell: 100)
    cells = [result.cells[0].model_copy(update={"task": cell.task, "length": cell.length}) for cell in own.cells()]
    result = result.model_copy(update={"suite": suite, "cells": tuple(cells)})
    scores = OpenScores(results=(result,), score=None, horizons_90={}, horizons_50={})
    picture = open_picture(made_up("mine", []).system, own, scores)
    assert [curve.name for curve, _ in picture.curves] == list(own.main_tasks)
    assert len({look for _, look in picture.curves}) == len(own.main_tasks)
    assert all(curve.lengths == own.grid(curve.name) for curve, _ in picture.curves)
    assert {share for curve, _ in picture.curves for share in curve.mean} == {Fraction(100, 256)}


@pytest.mark.slow
def test_the_bytes_depend_on_the_input_alone() -> None:
    """Two processes whose sets have other orders, neither of which loads matplotlib."""
    code = (
        "import hashlib, sys\n"
        "from tests.leaderboard.test_leaderboard_pictures import falling, scored, system_pictures\n"
        "(picture,) = system_pictures(scored(falling(3, 'main_only', 'transfer', 'control')))\n"
        "print(hashlib.sha256(picture.svg().encode()).hexdigest(), 'matplotlib' in sys.modules)\n"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert told[0][1] == "False"
    assert (
        system_pictures(scored(falling(1, "transfer")))[0].svg()
        != system_pictures(scored(falling(2, "transfer")))[0].svg()
    )


def test_small_pictures_show_the_means_over_the_transfer_zone() -> None:
    (picture,) = system_pictures(scored(falling(2, "main_only", "transfer")))
    (small,) = picture.small
    svg = ET.fromstring(small.svg())
    assert svg.findtext(f"{SVG}title") == "mine on copy-mqar: accuracy by length"
    lines = list(svg.iter(f"{SVG}polyline"))
    assert [line.attrib["stroke"] for line in lines] == [ARM_STYLES[arm].color for arm in ("main_only", "transfer")]
    for line, share in zip(lines, (1 - 1.5 / 32, 1 - 3.5 / 32), strict=True):
        assert heights(line) == pytest.approx([3] * 4 + [33 - 30 * share] * 6, abs=0.06)
    (zone,) = svg.iter(f"{SVG}rect")
    xs = [float(point.partition(",")[0]) for point in lines[0].attrib["points"].split()]
    edges = [float(zone.attrib["x"]), float(zone.attrib["x"]) + float(zone.attrib["width"])]
    assert edges == pytest.approx([xs[GROUP.grid.index(8)], xs[GROUP.grid.index(16)]], abs=0.11)
    assert len(small.svg()) < 2000


def test_pictures_are_small() -> None:
    (picture,) = system_pictures(scored(falling(5, *TRAINED_ARMS)))
    assert len(picture.svg()) < 20_000
