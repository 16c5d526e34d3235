"""The board as data: board.json and cells.csv say what the results and the pages say, and fit the schema."""

import csv
import io
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.leaderboard.build import derive_files
from lgbench.leaderboard.derive import derive_part
from lgbench.leaderboard.order import rank
from lgbench.leaderboard.parts import TrainedEntry, unpacked_tables
from lgbench.leaderboard.record import BoardRecord
from lgbench.leaderboard.scored import score_submission
from lgbench.results.schema import Result
from tests.leaderboard.test_leaderboard import GROUPS, everywhere, made_up, tables
from tests.made_up import MINI, group_results, make_result

ROOT = Path(__file__).parents[2]


def some_files() -> Mapping[str, str]:
    trained = everywhere({"main_only": [0, 64, 8], "transfer": [256, 128, 231], "control": [3, 3, 3]})
    opened = make_result(lambda cell: 200 if cell.task == "reverse_add" else 7)
    few = group_results("add-carry", {"main_only": [3], "transfer": [4]})
    systems = {"both": [*trained, opened], "few": few}
    return derive_files([made_up(name, runs, link="https://e.org/?a=1") for name, runs in systems.items()])


def test_board_json_holds_the_numbers_of_the_pages() -> None:
    files = some_files()
    board = BoardRecord.model_validate_json(files["board.json"])
    (suite,) = board.suites
    both, few = suite.trained
    row = tables(files["README.md"])[0][0]
    assert both.score is not None
    assert both.transfer_gain is not None
    assert row["transfer score"] == bracketed(both.score.value, [both.score.low, both.score.high])
    assert row["transfer gain"].startswith(f"{100 * both.transfer_gain.value:+.1f} [")
    assert row["transfer seen"] == f"{both.seen} of {both.covered}, {both.consistent} consistent"
    assert few.coverage == "fewer_groups"
    assert (few.fewest_seeds, few.covered) == (1, 1)
    page = tables(files["systems/both.md"])[0]
    assert [row["verdict"] for row in page] == [group.verdict.word for group in both.groups]
    (opened,) = suite.open
    assert (opened.system, opened.place) == ("both", 1)
    assert {task.task: task.transfer for task in opened.tasks}["reverse_add"] == round(200 / 256, 6)


def bracketed(value: float, ends: Sequence[float | None]) -> str:
    low, high = (f"{100 * (end or 0):.1f}" for end in ends)
    return f"{100 * value:.1f} [{low}, {high}]"


def test_an_accuracy_by_hand() -> None:
    (suite,) = json.loads(some_files()["board.json"])["suites"]
    group = suite["trained"][0]["groups"][0]
    shares = [256 / 256, 128 / 256, 231 / 256]
    assert group["arms"]["transfer"]["accuracies"] == [round(share, 6) for share in shares]
    assert group["score"]["value"] == round(statistics.mean(shares), 6)
    assert group["transfer_gain"]["value"] == round(statistics.mean(shares) - 72 / 3 / 256, 6)
    # Three equal seeds: no interval, and null says so.
    assert group["arms"]["control"]["transfer"] == {
        "value": round(3 / 256, 6),
        "low": None,
        "high": None,
        "one_seed": False,
        "count": 1,
    }


def test_cells_csv_holds_every_count_of_every_run() -> None:
    runs = everywhere({"main_only": [0, 64], "transfer": [256, 128]})
    runs.append(make_result(lambda cell: cell.length))
    rows = list(csv.DictReader(io.StringIO(derive_files([made_up("mine", runs)])["cells.csv"])))
    assert len(rows) == sum(len(run.cells) for run in runs)
    given = {
        (run.arm, run.group or "", "" if run.seed is None else str(run.seed), cell.task, str(cell.length)): cell.counts
        for run in runs
        for cell in run.cells
    }
    for row in rows:
        counts = given[row["arm"], row["group"], row["seed"], row["task"], row["length"]]
        assert (int(row["correct"]), int(row["total"])) == (counts.correct, counts.total)
        assert row["valid_moves"] == "", "unknown, not 0"
        group = MINI.group(row["group"]) if row["group"] else MINI.home_group(row["task"])
        assert row["zone"] == group.zone(int(row["length"]))


def test_a_group_score_follows_from_the_cells_alone() -> None:
    """As a reader without lgbench would compute it."""
    files = some_files()
    rows = [row for row in csv.DictReader(io.StringIO(files["cells.csv"])) if row["system"] == "both"]
    (suite,) = json.loads(files["board.json"])["suites"]
    for info, group in zip(suite["groups"], suite["trained"][0]["groups"], strict=True):
        by_seed: dict[str, list[float]] = {}
        for row in rows:
            own = (row["group"], row["arm"], row["task"], row["zone"])
            if own == (info["name"], "transfer", info["main"], "transfer"):
                by_seed.setdefault(row["seed"], []).append(int(row["correct"]) / int(row["total"]))
        mean = statistics.mean(map(statistics.mean, by_seed.values()))
        assert group["score"]["value"] == pytest.approx(mean, abs=1e-6)


def edited(change: dict[str, Any]) -> str:
    board = json.loads(some_files()["board.json"])
    board["suites"][0]["trained"][0] |= change
    return json.dumps(board)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"seen": -1}, "seen"),
        ({"seen": 1.0}, "seen"),
        ({"covered": None}, "covered"),
        ({"coverage": "first"}, "coverage"),
        ({"division": "both"}, "division"),
        ({"tier": 3}, "tier"),
        ({"rank": 1}, "rank"),
        ({"beyond": {"value": 1.5, "count": 1}}, "beyond.value"),
        ({"score": {"value": float("nan")}}, "score.value"),
    ],
)
def test_a_board_that_does_not_fit_is_refused_with_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(f"suites.0.trained.0.{field}")):
        BoardRecord.model_validate_json(edited(change))


def test_the_schema_is_printed_as_it_is_committed() -> None:
    done = CliRunner().invoke(app, ["schema", "board"], catch_exceptions=False)
    assert done.output == (ROOT / "leaderboard" / "board.schema.json").read_text("utf-8")
    schema = json.loads(done.output)
    assert set(schema["properties"]) == set(BoardRecord.model_fields)
    assert json.loads(CliRunner().invoke(app, ["schema"]).output)["title"] == "Result"


def test_a_number_has_one_text() -> None:
    runs: list[Result] = [run for group in GROUPS for run in group_results(group, {"main_only": [1], "transfer": [1]})]
    text = derive_files([made_up("mine", runs)])["board.json"]
    assert not re.findall(r"-0\.0\b", text)
    assert all(len(number) <= 8 for number in re.findall(r"0\.(\d+)", text))


def test_board_json_is_put_together_as_the_record_is_written() -> None:
    """With places of ranked systems, systems of arm `open`, and suites and lists that are empty."""
    ranked = {arm: [100, 101, 102, 103, 104] for arm in ("main_only", "transfer")}
    systems: dict[str, list[Result]] = {
        name: everywhere(ranked | {"transfer": [right + 12 * seed for seed in range(5)]})
        for name, right in (("a", 200), ("b", 9), ("c", 201))
    }
    systems["d"] = [make_result(lambda cell: 7)]
    hostile = {"training_notes": 'x\n "first_place": null', "description": '"trained": []'}
    for made in ([], [made_up(name, runs, **hostile) for name, runs in systems.items()]):
        text = derive_files(made)["board.json"]
        board = BoardRecord.model_validate_json(text)
        assert board.model_dump_json(indent=1) + "\n" == text
    (suite,) = board.suites
    places = [(each.system, each.first_place, each.last_place) for each in suite.trained]
    assert places == [("c", 1, 2), ("a", 1, 2), ("b", 3, 3)]
    assert [(each.system, each.place) for each in suite.open] == [("d", 1)]


def test_a_part_survives_being_kept_to_the_last_digit() -> None:
    runs = everywhere({"main_only": [0, 64, 8, 9, 3], "transfer": [256, 128, 231, 17, 5]})
    submission = made_up("mine", runs)
    (scores,) = score_submission(submission)
    (kept,) = unpacked_tables(derive_part(submission)).trained
    assert scores.trained is not None
    assert kept.score is not None
    score = scores.trained.score
    assert score is not None
    assert kept.score.value == score.value
    assert (kept.score.variance, kept.score.degrees) == (float(score.variance), score.degrees)
    assert TrainedEntry(kept).rank._replace(score=None) == rank(scores, scores.trained)._replace(score=None)
