"""Re-scoring finds every way in which a result and its replies can disagree."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import rescore
from lgbench.models.builtin import Echo
from lgbench.results.schema import Result
from lgbench.util.records import InvalidFileError

Lines = list[dict[str, Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    evaluate(Echo(), tasks=["reverse", "dfs_trace"], lengths=[4], limit=20, output=tmp_path / "run")
    return tmp_path / "run"


def edit_result(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads((folder / "result.json").read_text("utf-8"))
    edit(record)
    (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")


def edit_replies(folder: Path, edit: Callable[[Lines], object]) -> None:
    path = folder / "replies.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
    edit(lines)
    path.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))


def problems(folder: Path) -> list[str]:
    with pytest.raises(InvalidFileError) as caught:
        rescore(folder)
    return [str(problem) for problem in caught.value.problems]


def test_an_untouched_result_re_scores(folder: Path) -> None:
    rescored = rescore(folder)
    assert [int(flags.sum()) for flags in rescored.correct.values()] == [
        cell.counts.correct for cell in rescored.result.cells
    ]


def bump(name: str) -> Callable[[dict[str, Any]], object]:
    def edit(record: dict[str, Any]) -> None:
        counts = record["cells"][1]["counts"]
        counts[name] += 1
        if name == "chars_correct":
            counts["chars_total"] += 1

    return edit


@pytest.mark.parametrize(
    "name",
    [
        *("starts_with_target", "empty", "early", "chars_correct", "chars_total"),
        *("valid_moves", "right_endpoint", "cut", "capped"),
    ],
)
def test_every_count_is_checked(name: str, folder: Path) -> None:
    edit_result(folder, bump(name))
    found = problems(folder)
    assert any(f"cells[1].counts.{name}: dfs_trace at length 4" in problem for problem in found), found


def without_later_counts(record: dict[str, Any]) -> None:
    """As the first results were written."""
    for cell in record["cells"]:
        del cell["counts"]["empty"], cell["counts"]["early"]


def test_an_older_result_gets_later_counts_from_its_replies(tmp_path: Path) -> None:
    result = evaluate(Halves(), tasks=["reverse"], lengths=[4, 6], output=tmp_path / "run")
    assert [(each.counts.empty, each.counts.early) for each in result.cells] == [(256, 0), (0, 256)]
    edit_result(tmp_path / "run", without_later_counts)
    older = Result.model_validate_json((tmp_path / "run" / "result.json").read_text("utf-8"))
    assert (older.cells[0].counts.empty, older.cells[0].counts.early) == (None, None)
    assert rescore(tmp_path / "run").result == result
    assert Result.model_validate_json(older.to_json()) == older


class Halves:
    """Stops before the first character of four, and in the middle of more."""

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        return ["" if len(prompt) == 5 else prompt[-2:-5:-1] for prompt in prompts]


def test_replies_that_end_in_two_ways_are_refused(folder: Path) -> None:
    def claim(**changed: int | None) -> str:
        edit_result(folder, lambda record: record["cells"][1]["counts"].update(changed))
        return "; ".join(problems(folder))

    # 20 wrong replies, as the examples of dfs_trace are longer than a node
    assert "empty and early are either both counts or both null" in claim(early=None)
    assert "empty, early and starts_with_target (21) are more than the 20 wrong" in claim(empty=0, early=21)
    assert "refused (1) is more than empty (0)" in claim(empty=0, early=0, refused=1)


def test_a_better_count_is_found(folder: Path) -> None:
    def improve(record: dict[str, Any]) -> None:
        counts = record["cells"][0]["counts"]
        counts["correct"] += 1
        counts["first_wrong"][0]["count"] -= 1

    edit_result(folder, improve)
    assert any(problem.startswith("cells[0].counts.correct: reverse at length 4") for problem in problems(folder))


def test_other_tampering_is_named(folder: Path) -> None:
    edit_result(folder, lambda record: record.update(replies_sha256="0" * 64))
    assert problems(folder)[0].startswith("replies_sha256: does not fit")


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda record: record["cells"][0].update(sha256="0" * 64), "cells[0].sha256: is not the hash of reverse"),
        (
            lambda record: record["cells"][0].update(task_version=2),
            "cells[0].task_version: reverse at length 4 is of version 1",
        ),
        (lambda record: record["cells"][0].update(length=5), "cells[0]: mini-v1 has no cell reverse at length 5"),
        (lambda record: record["cells"][0].update(task="revers"), "cells[0]: mini-v1 has no cell revers at length 4"),
        (lambda record: record.update(suite="mini-v0"), "suite: 'mini-v0' is not a suite"),
        (lambda record: record["cells"].reverse(), "cells: must stand in task order, then by length"),
        (lambda record: record.update(limit=None), "cells[0].counts.total: reverse at length 4"),
    ],
)
def test_each_field_is_named(edit: Callable[[dict[str, Any]], object], expected: str, folder: Path) -> None:
    edit_result(folder, edit)
    found = problems(folder)
    assert any(problem.startswith(expected) for problem in found), found


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda lines: lines.pop(), "replies_sha256: does not fit"),
        (lambda lines: lines.append({"id": "reverse-4-999", "reply": "x"}), "'reverse-4-999' is not an example"),
        (lambda lines: lines.append(lines[0]), "the id 'reverse-4-"),
        (lambda lines: lines[0].update(reply="changed"), "replies_sha256: does not fit"),
        (lambda lines: lines[0].update(note="hi"), "line 1: unknown key 'note'"),
        (lambda lines: lines[0].update(reply=None), "line 1: 'reply' must be a string"),
        (lambda lines: lines[0].update(cut=1), "line 1: 'cut' must be true or false"),
        (lambda lines: lines[0].update(cut=True), "line 1: a cut reply has 4096 characters"),
        (lambda lines: lines[0].update(cut=True, reply="x" * 4096), "cells[0].counts.cut"),
        (lambda lines: lines[0].update(reply="y" * 5000), "line 1: the reply is longer than 4096"),
    ],
)
def test_tampered_replies_are_found(edit: Callable[[Lines], object], expected: str, folder: Path) -> None:
    edit_replies(folder, edit)
    found = problems(folder)
    assert any(expected in problem for problem in found), found


def test_a_right_reply_does_not_belong(folder: Path) -> None:
    def add_right(lines: Lines) -> None:
        lines[0]["reply"] = target_of(lines[0]["id"])

    def target_of(example_id: str) -> str:
        from lgbench.data.cells import draw_cell
        from lgbench.data.suites import load_suite

        task, length, index = example_id.rsplit("-", 2)
        return draw_cell(load_suite("mini-v1"), task, int(length))[int(index)].target

    edit_replies(folder, add_right)
    assert any("is right, so it does not belong" in problem for problem in problems(folder))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is cut short"),
        (b"plain text", "is not a gzip file, or is damaged"),
        (gzip.compress(b'{"id": "a", "reply": "b"}\n')[:-9], "is cut short"),
        (gzip.compress(b"[]\n"), "line 1: it is not an object"),
        (gzip.compress(b"{\n"), "line 1: "),
        (gzip.compress(b'{"id": "a", "reply": "\xff"}\n'), "line 1: byte "),
        (gzip.compress(b"[" * 99_000), "nested too deeply"),
        (gzip.compress(b"\n" * 65_000_000, 1), "line 1: Expecting value"),  # over a submission's cap, yet read here
        (
            gzip.compress(b"[" + b"0," * 50_000 + b"0]"),
            "line 1: it has 100,003 bytes, more than a stored reply can have",
        ),
        (gzip.compress(b"") + b"more", "has bytes after its end"),
    ],
    ids=[
        "empty",
        "plain text",
        "cut short",
        "list",
        "half a line",
        "not UTF-8",
        "nested",
        "long",
        "long line",
        "more after its end",
    ],
)
def test_a_bad_replies_file_is_told(content: bytes, expected: str, folder: Path) -> None:
    (folder / "replies.jsonl.gz").write_bytes(content)
    assert any(expected in problem for problem in problems(folder))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not valid JSON"),
        ('{"suite": ', "is not valid JSON"),
        ("[]", "valid dictionary or instance of Result|should be an object"),
        ('{"suite": 1, "suite": 2}', "the key 'suite' is repeated"),
        ('{"duration": NaN}', "NaN is not a JSON number"),
        ("[" * 1_200, "nested too deeply"),
        ("[" * 200_000, "lists and objects: no such record has so many"),
        ("\udcff", "not UTF-8"),
        ("1" * 1_000_001, "is too large"),
    ],
)
def test_a_bad_result_file_is_told(text: str, expected: str, folder: Path) -> None:
    (folder / "result.json").write_bytes(text.encode(errors="surrogateescape"))
    found = problems(folder)
    assert any(part in problem for problem in found for part in expected.split("|")), found


def test_a_link_is_not_followed(folder: Path) -> None:
    (folder / "result.json").rename(folder / "elsewhere.json")
    (folder / "result.json").symlink_to("elsewhere.json")
    assert problems(folder) == ["is not a regular file."]


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda record: record["cells"][0]["counts"].update(correct=-1), "cells[0].counts.correct"),
        (lambda record: record["cells"][0]["counts"].update(correct=10**30), "cells[0].counts.correct"),
        (lambda record: record["cells"][0]["counts"].update(correct=1.5), "cells[0].counts.correct"),
        (lambda record: record["cells"][0]["counts"].update(correct="3"), "cells[0].counts.correct"),
        (lambda record: record["cells"][0]["counts"].update(correct=21), "cells[0].counts"),
        (lambda record: record["cells"][0]["counts"].update(percent=3), "cells[0].counts.percent"),
        (lambda record: record["cells"][0]["counts"].pop("total"), "cells[0].counts.total"),
        (lambda record: record.update(duration=-1.0), "duration"),
        (lambda record: record.update(started="yesterday"), "started"),
        (lambda record: record.update(started="2026-01-01T00:00:00"), "started"),
        (lambda record: record.update(arm="transfer"), ""),
        (lambda record: record.update(group="add-carry"), ""),
        (lambda record: record.update(schema_version=2), "schema_version"),
        (lambda record: record.update(cells=[]), "cells"),
        (lambda record: record["cells"].append(record["cells"][0]), ""),
        (lambda record: record.update(seed=-1), "seed"),
    ],
)
def test_impossible_values_are_refused_by_field(
    edit: Callable[[dict[str, Any]], object], field: str, folder: Path
) -> None:
    edit_result(folder, edit)
    with pytest.raises(InvalidFileError) as caught:
        rescore(folder)
    assert field in [problem.field for problem in caught.value.problems]
