import gzip
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from lgbench.records import InvalidFileError, Problem, parse_json, read_capped, read_record, write_record
from lgbench.rescoring import check_result
from lgbench.results import Result
from lgbench.running.replies import read_stored_replies
from lgbench.text import plain
from tests.made_up import make_result


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' is repeated"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": -Infinity}', "-Infinity is not a JSON number"),
        (b"[" * 1_000_000, "it is nested too deeply"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "byte 0 is not UTF-8"),
        (b'\xef\xbb\xbf{"a": 1}', "BOM"),
        (b'{"a": ' + b"1" * 5000 + b"}", "Exceeds the limit"),
    ],
)
def test_json_is_read_strictly(text: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_json(text)


def test_a_repeated_key_is_found_among_many_in_one_pass() -> None:
    keys = [*range(200_000), 199_999]  # comparing all pairs would take minutes
    text = "{" + ",".join(f'"{key}":0' for key in keys) + "}"
    with pytest.raises(ValueError, match="the key '199999' is repeated"):
        parse_json(text)


def test_only_regular_files_of_at_most_the_cap_are_read(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_bytes(b"x" * 10)
    link.symlink_to(file)
    assert read_capped(file, 10) == b"x" * 10
    for path, cap, said in [
        (file, 9, "is too large: 10 bytes; at most 9 are allowed"),
        (link, 10, "is not a regular file"),
        (tmp_path, 10, "is not a regular file"),
        (tmp_path / "none", 10, "does not exist"),
    ]:
        with pytest.raises(InvalidFileError, match=said):
            read_capped(path, cap)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    result = make_result(lambda cell: 7)
    write_record(tmp_path / "result.json", result)
    assert read_record(tmp_path / "result.json", Result) == result


def test_every_problem_of_a_record_names_its_field(tmp_path: Path) -> None:
    record = json.loads(make_result(lambda cell: 7).to_json())
    record["cells"][1]["counts"]["correct"] = -1
    record["extra"] = 1
    del record["suite"]
    (tmp_path / "result.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        read_record(tmp_path / "result.json", Result)
    assert {problem.field for problem in caught.value.problems} == {"suite", "cells[1].counts.correct", "extra"}


def test_a_flood_of_problems_in_a_record_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps({"cells": [1] * 5000}))
    with pytest.raises(InvalidFileError) as caught:
        read_record(path, Result)
    *listed, last = caught.value.problems
    with pytest.raises(ValidationError) as all_of_them:
        Result.model_validate_json(path.read_text())
    assert len(listed) == 100
    assert last == Problem("", f"and {all_of_them.value.error_count() - 100:,} more.")


def test_a_flood_of_problems_is_counted_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "result.json").write_text('{"cells": [' + ",".join(["1"] * 20_000) + "]}", encoding="utf-8")
    monkeypatch.setattr("lgbench.records._problem", lambda detail: pytest.fail("the problems were told apart"))
    with pytest.raises(InvalidFileError, match=r"has 20,0\d\d problems\.$"):
        read_record(path, Result)


def write_replies(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


def test_a_flood_of_wrong_lines_is_cut_off(tmp_path: Path) -> None:
    path = write_replies(tmp_path / "replies.jsonl.gz", b"\n" * 3_000_000)
    with pytest.raises(InvalidFileError) as caught:
        read_stored_replies(path)
    assert len(caught.value.problems) == 101
    assert "not read" in caught.value.problems[-1].message


def test_many_unknown_ids_are_one_problem(tmp_path: Path) -> None:
    content = b"".join(b'{"id":"x%05d","reply":""}\n' % number for number in range(10_000))
    replies = read_stored_replies(write_replies(tmp_path / "replies.jsonl.gz", content))
    _, problems = check_result(make_result(lambda cell: 256, arm="main_only", group="copy-mqar"), replies)
    (unknown,) = [problem for problem in problems if problem.field == "replies"]
    assert "'x00000', 'x00001'" in unknown.message
    assert "9,995 more" in unknown.message


def test_what_is_shown_has_no_control_characters_and_is_short() -> None:
    shown = str(Problem("a\x1b[31m\nb\u202ec\ud800", "é" * 1000))
    assert shown.isprintable()
    assert shown.startswith("a\\x1b[31m\\nb\\u202ec\\ud800: éé")
    assert len(shown) < 600
    assert plain("déjà vu") == "déjà vu"
