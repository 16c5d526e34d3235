"""Replies that a run names by address and hash: fetched once, checked, and as good as those beside a result."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import socket
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lgbench.cli import app
from lgbench.evaluation.offsite import stored_at
from lgbench.submissions.submitting import Addresses, Details, submit
from lgbench.util.download import Remote, fetch_file
from lgbench.util.errors import LgbenchError
from tests.loopback import Files
from tests.submitted import OTHER_SEED, RUN, edit, problems

WHERE = (f"my-system/{RUN}/replies.json", "")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LGBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def packed(submissions: Path, server: Files) -> bytes:
    """A run of the system names its replies, which a server has."""
    shutil.rmtree(submissions / "my-system" / OTHER_SEED)
    replies = submissions / "my-system" / RUN / "replies.jsonl.gz"
    content = replies.read_bytes()
    replies.unlink()
    server.content["/a"] = content
    record = {"url": f"{server.url}/a", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    replies.with_name("replies.json").write_text(json.dumps({"schema_version": 1} | record), encoding="utf-8")
    return content


def validate(submissions: Path, *options: str) -> tuple[int, list[dict[str, str]]]:
    done = CliRunner().invoke(app, ["validate", str(submissions), "--json", *options])
    return done.exit_code, json.loads(done.output)["problems"]


def test_replies_are_fetched_once_and_only_if_asked_for(submissions: Path, packed: bytes, server: Files) -> None:
    status, (problem,) = validate(submissions)
    assert (status, server.asked) == (1, [])
    assert f"`lgbench validate --fetch` gets them from {server.url}/a" in problem["message"]
    assert [validate(submissions, "--fetch") for _ in range(2)] == [(0, []), (0, [])]
    assert server.asked == ["/a"]

    # What the store has is trusted no more than what a server sends.
    stored = stored_at(hashlib.sha256(packed).hexdigest())
    stored.write_bytes(packed[:-1])
    assert problems(submissions).keys() == {WHERE}
    assert validate(submissions, "--fetch") == (0, [])
    assert stored.read_bytes() == packed


def test_what_cannot_be_had_or_is_another_file_is_a_sentence(submissions: Path, packed: bytes, server: Files) -> None:
    for content, words in [
        (404, "answers with status 404"),
        (bytes([*packed[:-1], packed[-1] ^ 1]), "holds other replies than the submission names"),
        (packed + b"more", f"is larger than {len(packed):,} bytes"),
        ("file:///etc/passwd", "answers with status 302"),
    ]:
        server.content["/a"] = content  # type: ignore[assignment]
        status, (problem,) = validate(submissions, "--fetch")
        assert (status, problem["field"]) == (1, "url")
        assert words in problem["message"]
        assert problem["path"].endswith("replies.json")
    server.close()
    assert "cannot be reached" in validate(submissions, "--fetch")[1][0]["message"]
    assert not [path for path in stored_at("0" * 64).parents[1].rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"url": "file:///etc/passwd"}, "url"),
        ({"sha256": "../../../etc/passwd"}, "sha256"),
        ({"bytes": 8_000_001}, "bytes"),
        ({"bytes": 0}, "bytes"),
        ({"more": 1}, "more"),
    ],
)
def test_a_false_record_is_refused_with_its_field(
    submissions: Path, packed: bytes, server: Files, fields: dict[str, object], where: str
) -> None:
    edit(submissions / WHERE[0], lambda record: record.update(fields))
    status, (problem,) = validate(submissions, "--fetch")
    assert (status, problem["field"], server.asked) == (1, where, [])


def test_replies_are_either_here_or_elsewhere(submissions: Path, packed: bytes) -> None:
    (submissions / "my-system" / RUN / "replies.jsonl.gz").write_bytes(packed)
    assert "keep one" in problems(submissions)[WHERE]


def test_submitting_addresses_in_the_place_of_replies(
    run_folders: dict[str, Path], tmp_path: Path, server: Files
) -> None:
    folder, run = run_folders[RUN], tmp_path / "mine" / "submissions" / "new" / RUN
    details = Details(description="Adds.", authors=["A"], licence="MIT", training_notes="x")
    addresses = Addresses(replies=f"{server.url}/{{run}}.gz")
    run.parents[2].mkdir()
    submitted = submit([folder], name="new", details=details, submissions=run.parents[1], addresses=addresses)
    assert (submitted.runs, submitted.to_fix) == ((run,), ())
    assert sorted(path.name for path in run.iterdir()) == ["replies.json", "result.json"]
    assert json.loads((run / "replies.json").read_text("utf-8"))["url"] == f"{server.url}/{RUN}.gz"

    with pytest.raises(LgbenchError, match="There is nothing new"):
        submit([folder], name="new", details=details, submissions=run.parents[1])
    with pytest.raises(LgbenchError, match="--replies: 'ftp://x' is no address"):
        submit(
            [folder], name="other", details=details, submissions=run.parents[1], addresses=Addresses(replies="ftp://x")
        )

    shutil.rmtree(tmp_path / "cache")  # as on another machine
    server.content[f"/{RUN}.gz"] = (folder / "replies.jsonl.gz").read_bytes()
    assert validate(run.parents[1], "--fetch") == (0, [])


def test_a_server_that_drips_its_headers_is_given_up(tmp_path: Path) -> None:
    """Each byte comes long before a socket's own timeout, and there is no end of them."""
    given_up = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                while not given_up.wait(0.02):
                    connection.sendall(b"x")

        dripping = threading.Thread(target=drip)
        dripping.start()
        remote = Remote(f"http://127.0.0.1:{listening.getsockname()[1]}/a", "0" * 64, "replies")
        with pytest.raises(LgbenchError, match="comes too slowly: no answer in the time that a download may take"):
            fetch_file(remote, tmp_path / "a", most_bytes=100, seconds=0.5)
        given_up.set()
        dripping.join()
    assert not (tmp_path / "a").exists()
