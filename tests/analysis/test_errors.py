"""What goes wrong in replies, against other routes: integers, counts of the results, and a claim of the docs."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from lgbench.analysis.error_tables import tabulate_errors
from lgbench.analysis.errors import ErrorsRecord, analyze_errors
from lgbench.analysis.kinds import ENDINGS, KINDS, columns, ending_of, first_error, symbols
from lgbench.analysis.records import read_analysis, write_analysis
from lgbench.cli import app
from lgbench.data.tasks import TASKS, get_task
from lgbench.results.schema import Result
from lgbench.util.errors import LgbenchError
from lgbench.util.records import read_record

SUBMITTED = Path(__file__).parents[2] / "submissions" / "reference-rope"
MAZE = "[2]:[3][1][10],[1]:[2],[3]:[2],[10]:[2]?[1]>[10]="


def results(pattern: str) -> dict[Path, Result]:
    return {path: read_record(path / "result.json", Result) for path in sorted(SUBMITTED.glob(pattern))}


@pytest.mark.parametrize(
    ("task", "prompt", "reply", "position", "kind", "behind"),
    [
        ("string_copy", "abcaxy=", "abcabc", 4, "jump", True),
        ("string_copy", "abca=", "a", 1, "jump", True),  # the other a ends the string, and so does the reply
        ("string_copy", "abcdef=", "abc", 3, "stops", False),
        ("string_copy", "abc=", "abcd", 3, "continues", False),
        ("string_copy", "abcdef=", "abCdef", 2, "case", False),
        ("string_copy", "abcdef=", "abdcef", 2, "swap", False),
        ("string_copy", "abcdef=", "abdef", 2, "skip", False),
        ("string_copy", "abcdef=", "abbcdef", 2, "repeat", False),
        ("string_copy", "abcdef=", "abfdef", 2, "other_letter", False),
        ("string_copy", "abcdef=", "ab?def", 2, "foreign", False),
        ("string_copy", "abcdef=", "xbcdef", 0, "foreign", False),
        ("reverse", "yxacba=", "abcabc", 4, "jump", True),
        ("reverse", "yxacbax=", "xabcab", 5, "jump", True),
        ("capitalize_reverse", "yxacbax=", "XABCABY", 5, "jump", True),
        ("capitalize", "abcaxy=", "ABCABC", 4, "jump", True),
        ("mqar", "abcaxy=bc", "abc", 1, "jump", True),
        ("copy_first_op", "12134+7=", "12121", 3, "jump", True),
        ("repeat_first", "abc=", "aba", 1, "other_letter", None),
        ("reverse_add", "59+54=", "031", 1, "missed_carry", None),  # 95 + 45 = 140
        ("reverse_add", "12+34=", "470", 1, "false_carry", None),  # 21 + 43 = 64
        ("reverse_add", "12+34=", "450", 1, "off_by_one", None),
        ("reverse_add", "12+34=", "490", 1, "other_digit", None),
        ("reverse_add", "12+34=", "4a0", 1, "foreign", None),
        ("no_carry", "59+54=", "041", 1, "false_carry", None),
        ("carry_only", "59+54=", "001", 1, "missed_carry", None),
        ("carry_only", "12+34=", "010", 1, "false_carry", None),
        ("reverse_subtract", "05-92=", "130", 1, "missed_carry", None),  # 50 - 29 = 21
        ("cot_multiply", "2*3=", "7=60", 0, "off_by_one", None),
        ("shortest_path", MAZE, "[2][10]", 0, "wrong_start", None),
        ("shortest_path", MAZE, "[1][2][3]", 2, "wrong_branch", None),
        ("shortest_path", MAZE, "[1][10]", 1, "illegal_move", None),
        ("shortest_path", MAZE, "[1][64]", 1, "foreign", None),
        ("dfs_trace", MAZE, "[1][2][10]", 2, "wrong_branch", None),
        ("node_list", MAZE, "[2][3]", 1, "other_node", None),
        ("node_list", MAZE, "[2][1]a", 2, "foreign", None),
    ],
)
def test_the_first_wrong_symbol(
    task: str, prompt: str, reply: str, position: int, kind: str, behind: bool | None
) -> None:
    definition = get_task(task)
    found = first_error(definition, prompt, definition.solve(prompt), reply)
    assert (found.position, found.kind, found.behind_repeat) == (position, kind, behind)


def test_a_right_reply_has_no_error() -> None:
    with pytest.raises(ValueError, match="right"):
        first_error(get_task("reverse"), "ab=", "ba", "ba")


def test_neighbouring_digits() -> None:
    digits = [first_error(get_task("reverse_add"), "12+34=", "460", f"4{digit}0").off_by_one for digit in "012345789"]
    assert digits == [digit in "57" for digit in "012345789"]
    assert first_error(get_task("reverse_add"), "0+0=", "00", "90").off_by_one


@pytest.mark.parametrize("name", [task.name for task in TASKS])
def test_any_reply_to_any_task_has_a_kind_and_a_place(name: str) -> None:
    draw = random.Random(name)
    task = get_task(name)
    target = task.solve(task.example)
    for _ in range(300):
        pieces = [*symbols(target), *draw.choices("09aZ?=é\n", k=2), "[1]", "[64]"]
        reply = "".join(draw.choices(pieces, k=draw.randrange(2 * len(symbols(target)))))
        if reply == target:
            continue
        found = first_error(task, task.example, target, reply)
        before = found.position
        assert symbols(target)[:before] == symbols(reply)[:before]
        assert symbols(target)[before : before + 1] != symbols(reply)[before : before + 1]
        assert found.kind in KINDS
        assert ending_of(reply, target) in ENDINGS


@pytest.mark.parametrize("sign", ["+", "-"])
def test_carry_chains_by_integers(sign: str) -> None:
    """A chain is the least number of positions that make the carry by themselves."""
    draw = random.Random(sign)
    for _ in range(200):
        size = draw.randrange(1, 9)
        # Many nines and equal digits, so that chains are long.
        first = [draw.choice((9, 4, 5, 0, draw.randrange(10))) for _ in range(size)]
        second = [draw.choice((9 - a if sign == "+" else a, draw.randrange(10))) for a in first]
        text = "".join(map(str, first)) + sign + "".join(map(str, second)) + "="
        for at, column in enumerate(columns(text)):
            assert column.chain == least_chain(first[:at], second[:at], sign)
            assert column.carry == (column.chain > 0)


def least_chain(first: list[int], second: list[int], sign: str) -> int:
    for count in range(1, len(first) + 1):
        a, b = (int("".join(map(str, digits[-count:][::-1]))) for digits in (first, second))
        if (a + b >= 10**count) if sign == "+" else a < b:
            return count
    return 0


@pytest.mark.parametrize("run", ["add-carry-transfer-seed0", "copy-mqar-transfer-seed1", "maze-path-control-seed0"])
def test_the_counts_are_those_of_the_result(run: str) -> None:
    (result,) = results(f"mini-v1-{run}").values()
    record = analyze_errors(results(f"mini-v1-{run}"))
    for cell, recorded in zip(record.runs[0].cells, result.cells, strict=True):
        counts, wrong = recorded.counts, recorded.counts.total - recorded.counts.correct
        assert (cell.total, cell.correct) == (counts.total, counts.correct)
        assert sum(cell.endings.values()) == sum(cell.kinds.values()) == sum(cell.first_wrong.values()) == wrong
        assert cell.endings.get("late", 0) == counts.late
        if counts.empty is not None:
            assert (cell.endings.get("empty", 0), cell.endings.get("early", 0)) == (counts.empty, counts.early)
        if "[" not in get_task(cell.task).example:  # a character is a symbol
            assert cell.first_wrong == {str(each.position): each.count for each in counts.first_wrong}
        assert sum(each.total for each in cell.targets) == cell.total
        assert sum(each.correct for each in cell.targets) == cell.correct
        if counts.valid_moves is not None:  # a legal walk has no illegal move before its first error
            assert counts.valid_moves <= counts.total - cell.kinds.get("illegal_move", 0)
        if cell.chains:
            assert sum(each.wrong for each in cell.chains) == sum(
                count for kind, count in cell.kinds.items() if kind not in ("stops", "continues")
            )


def test_the_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = analyze_errors(results("mini-v1-add-carry-transfer-seed*"), tasks=["reverse_add"], lengths=[10, 12])
    write_analysis(tmp_path / "errors.json", record)
    again = read_analysis(tmp_path / "errors.json", ErrorsRecord)
    assert again == record
    pd.testing.assert_frame_equal(again.frame(), record.frame())
    assert {cell.length for run in again.runs for cell in run.cells} == {10, 12}
    with pytest.raises(ValidationError):
        ErrorsRecord.model_validate_json(record.model_dump_json().replace('"total":256', '"total":"256"'))
    tables = {table.title: table for table in tabulate_errors(record)}
    assert any(title.startswith("Digits that are wrong") for title in tables)


def test_open_results_have_zones_but_no_trained_length(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["eval", "echo", "--group", "add-carry", "--length", "4", "--limit", "8", "-q", "-o", str(folder)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    done = CliRunner().invoke(app, ["analyze", "errors", str(folder), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "open" in done.output
    record = read_analysis(tmp_path / "out" / "errors.json", ErrorsRecord)
    assert {cell.trained_length for run in record.runs for cell in run.cells} == {None}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("errors.json", "errors.svg", "errors-cells.csv", "errors-chains.csv", "errors-targets.csv")
    }
    cells = pd.read_csv(tmp_path / "out" / "errors-cells.csv")
    assert (cells["total"] == 8).all()


def test_what_was_not_evaluated_is_refused() -> None:
    runs = results("mini-v1-copy-mqar-control-seed0")
    with pytest.raises(LgbenchError, match="Nothing of length 3 was evaluated"):
        analyze_errors(runs, lengths=[3])
    with pytest.raises(LgbenchError, match="'mqar' is not a task of these runs"):
        analyze_errors(runs, tasks=["mqar"])


def test_runs_without_errors_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    arguments = ["eval", "oracle", "--group", "copy-mqar", "--length", "4", "--limit", "8", "-q", "-o", str(folder)]
    assert CliRunner().invoke(app, arguments, catch_exceptions=False).exit_code == 0
    done = CliRunner().invoke(app, ["analyze", "errors", str(folder), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "No reply is wrong." in done.output
    assert not (tmp_path / "out" / "errors.svg").exists()
