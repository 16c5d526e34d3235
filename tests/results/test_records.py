import gzip
import json
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel, ValidationError

from lgbench.evaluation.rescoring import check_result
from lgbench.evaluation.stored import LOCAL_CAPS, StoredReplies, StoredRepliesReader, StoredReply, read_stored_replies
from lgbench.results.reply import Reply
from lgbench.results.schema import Result
from lgbench.util.records import InvalidFileError, Problem, parse_json, read_capped, read_record, write_record
from lgbench.util.text import plain
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
        (b'{"a": ' + b"1" * 5000 + b"}", "too many digits"),
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
    problems = [each for each in all_of_them.value.errors() if each["type"] != "too_short"]  # of cells that are there
    assert last == Problem("", f"and {len(problems) - 100:,} more.")


def test_a_flood_of_problems_is_counted_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (path := tmp_path / "result.json").write_text('{"cells": [' + ",".join(["1"] * 20_000) + "]}", encoding="utf-8")
    monkeypatch.setattr("lgbench.util.records._problem", lambda detail: pytest.fail("the problems were told apart"))
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


def test_what_follows_the_first_unknown_id_is_not_read() -> None:
    read: list[int] = []

    def replies() -> Iterator[StoredReply]:
        for number in range(1, 10_001):
            read.append(number)
            yield StoredReply(number, f"x{number:05}", Reply(""))

    rescored, problems = check_result(make_result(lambda cell: 256, arm="main_only", group="copy-mqar"), replies())
    said = "'x00001' is not an example of this result (line 1). What follows was not read."
    assert problems == [Problem("replies", said)]
    assert rescored.correct == {}
    assert read == [1]


@pytest.mark.slow
def test_a_line_without_end_is_not_unpacked(tmp_path: Path) -> None:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    parts = [packer.compress(b" " * 10**6) for _ in range(300)]
    path = tmp_path / "replies.jsonl.gz"
    path.write_bytes(b"".join(parts) + packer.flush())
    tracemalloc.start()
    with pytest.raises(InvalidFileError, match="line 1: it has more than 131,072 bytes"):
        read_stored_replies(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


@pytest.mark.slow
def test_stored_replies_are_read_in_the_memory_of_a_few_lines(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl.gz"
    texts = [("x" * 4095) + "\U0001f600", "", 'é"\\', "\u2028"] * 2000
    with path.open("wb") as file:
        writer = StoredReplies(file)
        for number, text in enumerate(texts):
            writer.add(str(number), Reply(text), right=False)
        writer.close()
    reader = StoredRepliesReader(path, LOCAL_CAPS)
    tracemalloc.start()
    for expected, (line, example_id, reply) in enumerate(reader):
        assert (line, example_id, reply.text) == (expected + 1, str(expected), texts[expected])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert line == len(texts)
    assert reader.oddity is None
    assert peak < 2_000_000


@pytest.mark.slow
def test_more_lines_than_any_suite_has_examples_are_not_read(tmp_path: Path) -> None:
    path = write_replies(tmp_path / "replies.jsonl.gz", b'{"id":"a","reply":""}\n' * 200_000)
    with pytest.raises(InvalidFileError, match=r"has more than 157,696 lines"):
        for _ in StoredRepliesReader(path, LOCAL_CAPS):
            pass


@pytest.mark.parametrize("field", ["schema_version", "started"])
@pytest.mark.parametrize("value", ["missing", True, 1.0, "1", None, 1_767_225_600, "1767225600", "2026-01-01"])
def test_a_version_and_a_moment_are_written_in_one_way(tmp_path: Path, field: str, value: object) -> None:
    record = json.loads(make_result(lambda cell: 7).to_json())
    if value == "missing":
        del record[field]
    else:
        record[field] = value
    (tmp_path / "result.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(InvalidFileError) as caught:
        read_record(tmp_path / "result.json", Result)
    assert [problem.field for problem in caught.value.problems] == [field]


def test_every_kind_of_record_says_what_it_is(tmp_path: Path) -> None:
    class Kind(BaseModel):
        format: Literal["a"] = "a"
        steps: int = 0

    (path := tmp_path / "record.json").write_text('{"format": "a", "steps": 1}', encoding="utf-8")
    assert read_record(path, Kind) == Kind(steps=1)
    for text, field in (('{"steps": 1}', "format"), ('{"format": "a", "steps": true}', "steps")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(InvalidFileError, match=f": {field}: "):
            read_record(path, Kind)


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        (",".join(["{}"] * 300_000), "25,000 values"),
        ('{"a":' * 12_500 + "1" + "}" * 12_500, "12,500 lists and objects"),
    ],
)
def test_a_record_of_too_many_values_is_not_even_parsed(
    cells: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path := tmp_path / "result.json").write_text(f'{{"cells": [{cells}]}}', encoding="utf-8")
    monkeypatch.setattr("lgbench.util.records.parse_json", lambda text: pytest.fail("it was parsed"))
    with pytest.raises(InvalidFileError, match=f"holds more than {words}"):
        read_record(path, Result)


def test_what_is_shown_has_no_control_characters_and_is_short() -> None:
    shown = str(Problem("a\x1b[31m\nb\u202ec\ud800", "é" * 1000))
    assert shown.isprintable()
    assert shown.startswith("a\\x1b[31m\\nb\\u202ec\\ud800: éé")
    assert len(shown) < 600
    assert plain("déjà vu") == "déjà vu"
