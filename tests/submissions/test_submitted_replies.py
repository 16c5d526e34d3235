"""Attacks on `replies.jsonl.gz`: each test says which lines or counts must be reported."""

import gzip
import json
import os
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.evaluation.stored import SUBMITTED_CAPS
from tests.submitted import RUN, problems


def lines_of(system: Path) -> list[bytes]:
    return gzip.decompress((system / RUN / "replies.jsonl.gz").read_bytes()).splitlines(keepends=True)


def write_lines(system: Path, lines: Sequence[bytes]) -> None:
    (system / RUN / "replies.jsonl.gz").write_bytes(gzip.compress(b"".join(lines), mtime=0))


@pytest.mark.parametrize(
    ("change", "where", "said"),
    [
        (lambda lines: lines[1:], [("result.json", "*")], "fit the replies"),
        (lambda lines: [*lines, lines[0]], [("replies.jsonl.gz", "line 769")], "'reverse_add-6-0' is repeated"),
        (
            lambda lines: [*lines, b'{"id":"reverse_add-6-256","reply":"x"}\n'],
            [("replies.jsonl.gz", "")],
            "'reverse_add-6-256' is not an example",
        ),
        (
            lambda lines: [*lines[:3], b'{"id": 1}\n', b"half a li", b"\n", *lines[3:]],
            [("replies.jsonl.gz", "line 4"), ("replies.jsonl.gz", "line 5")],
            "'id' must be a string",
        ),
        (
            lambda lines: [b'{"id":"reverse_add-6-0","reply":"x","score":1}\n', *lines[1:]],
            [("replies.jsonl.gz", "line 1")],
            "unknown key 'score'",
        ),
        (
            lambda lines: [b'{"id":"reverse_add-6-0","reply":"%s"}\n' % (b"x" * 4097), *lines[1:]],
            [("replies.jsonl.gz", "line 1")],
            "longer than 4096",
        ),
    ],
    ids=["missing id", "repeated id", "unknown id", "torn lines", "unknown key", "too long"],
)
def test_spoiled_replies(
    system: Path, change: Callable[[list[bytes]], list[bytes]], where: list[tuple[str, str]], said: str
) -> None:
    write_lines(system, change(lines_of(system)))
    found = problems(system)
    if where == [("result.json", "*")]:  # the missing reply counts as right, so that every count of its cell differs
        assert {path for path, _ in found} == {f"{RUN}/result.json"}
        assert {"cells[2].counts.correct", "replies_sha256"} <= {field for _, field in found}
    else:
        assert set(found) == {(f"{RUN}/{file}", field) for file, field in where}
    assert said in " ".join(found.values())


def test_a_right_reply_does_not_belong_in_the_file(system: Path) -> None:
    example = draw_cell(load_suite("mini-v1"), "reverse_add", 2)[0]
    write_lines(system, [json.dumps({"id": example.id, "reply": example.target}).encode() + b"\n", *lines_of(system)])
    assert set(problems(system)) == {(f"{RUN}/result.json", "cells[0]")}


def test_of_many_spoiled_lines_the_first_hundred_are_reported(system: Path) -> None:
    lines = lines_of(system)
    write_lines(system, [b"{}\n"] * 100 + lines)
    found = problems(system)
    assert set(found) == {(f"{RUN}/replies.jsonl.gz", f"line {number}") for number in range(1, 102)}
    told = found[f"{RUN}/replies.jsonl.gz", "line 101"]
    assert told == "and what follows was not read: too much before it is wrong."


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda lines: [lines[0].replace(b":", b": "), *lines[1:]], "line 1"),
        (lambda lines: [*lines[:2], lines[2].replace(b'"}', b'","cut":false}'), *lines[3:]], "line 3"),
        (lambda lines: [*lines[:2], lines[2].replace(b"?", b"\\u003f"), *lines[3:]], "line 3"),
        (lambda lines: [*lines[:-1], lines[-1].rstrip()], "line 768"),
        (lambda lines: [*lines[:-1], lines[-1].rstrip() + b"\r\n"], "line 768"),
    ],
    ids=["a blank", "a flag that is not", "an escape", "no last end", "another end"],
)
def test_replies_are_in_the_bytes_that_eval_writes(
    system: Path, change: Callable[[list[bytes]], list[bytes]], field: str
) -> None:
    write_lines(system, change(lines_of(system)))
    told = "is not written as `lgbench eval` writes it."
    assert problems(system) == {(f"{RUN}/replies.jsonl.gz", field): told}


def test_replies_out_of_order_are_refused_at_the_first(system: Path) -> None:
    lines = lines_of(system)
    write_lines(system, [lines[1], lines[0], *lines[2:]])
    ((where, told),) = problems(system).items()
    assert where == (f"{RUN}/replies.jsonl.gz", "line 2")
    assert "is repeated, or out of order" in told


@pytest.mark.parametrize("header", [b"\x1f\x8b\x08\x08\0\0\0\0\2\xffsecret\0", b"\x1f\x8b\x08\0\1\2\3\4\2\xff"])
def test_a_header_holds_neither_a_name_nor_a_time(system: Path, header: bytes) -> None:
    path = system / RUN / "replies.jsonl.gz"
    path.write_bytes(header + path.read_bytes()[10:])
    told = "has a name or a time in its header, which `lgbench eval` leaves out."
    assert problems(system) == {(f"{RUN}/replies.jsonl.gz", ""): told}


def test_a_second_gzip_member_is_refused(system: Path) -> None:
    path = system / RUN / "replies.jsonl.gz"
    path.write_bytes(path.read_bytes() * 2)
    assert problems(system) == {(f"{RUN}/replies.jsonl.gz", ""): "has bytes after its end."}


def test_replies_that_unpack_without_end_are_not_unpacked(system: Path) -> None:
    packer = zlib.compressobj(wbits=16 + zlib.MAX_WBITS)
    start = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    (system / RUN / "replies.jsonl.gz").write_bytes(start + 5000 * again)  # five gigabytes in as many megabytes
    assert (system / RUN / "replies.jsonl.gz").stat().st_size < SUBMITTED_CAPS.packed
    tracemalloc.start()
    found = problems(system)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    told = "it has more than 131,072 bytes, more than a stored reply can have."
    assert found == {(f"{RUN}/replies.jsonl.gz", "line 1"): told}
    assert peak < 20_000_000


@pytest.mark.slow
def test_replies_that_unpack_to_more_than_the_cap_are_not_read_to_their_end(system: Path) -> None:
    (system / RUN / "result.json").write_text("{}", encoding="utf-8")  # so that nothing says which ids there may be
    write_lines(system, [b'{"id":"x","reply":"%s"}\n' % (b"y" * 4000)] * 20_000)
    tracemalloc.start()
    found = problems(system)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found[f"{RUN}/replies.jsonl.gz", ""] == "unpacks to more than 64,000,000 bytes."
    assert peak < 20_000_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not gzip", "not a gzip file"),
        (gzip.compress(b'{"id":"a","reply":""}\n')[:-9], "cut short"),
        (os.urandom(SUBMITTED_CAPS.packed + 1), "too large: 8,000,001 bytes"),
    ],
    ids=["no gzip", "cut short", "too large"],
)
def test_replies_that_cannot_be_unpacked(system: Path, content: bytes, said: str) -> None:
    (system / RUN / "replies.jsonl.gz").write_bytes(content)
    found = problems(system)
    assert set(found) == {(f"{RUN}/replies.jsonl.gz", "")}
    assert said in found[f"{RUN}/replies.jsonl.gz", ""]
