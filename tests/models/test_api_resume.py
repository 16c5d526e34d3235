"""MODEL `api:...`: no reply is lost, and none is paid for twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from lgbench.data.cells import checked_cell
from lgbench.data.suites import Cell, load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.loop import Progress
from lgbench.evaluation.rescoring import rescore
from lgbench.results.reply import parse_reply_line
from lgbench.util.errors import LgbenchError
from tests.loopback import KEY, RIGHT, Answer, Rule, Serve, Server, ask, failure, right_answer

MINI = load_suite("mini-v1")


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_waits_for_what_is_paid_for(asked: signal.Signals, serve: Serve) -> None:
    """Of twenty questions six are under way: their replies come, and nothing new is asked."""
    main = threading.get_ident()

    def rule(number: int, body: dict[str, Any]) -> Answer:
        if number == 5:
            signal.pthread_kill(main, asked)
        time.sleep(0.5)
        return right_answer(body)

    model, server = serve(rule, concurrency="6")
    adapter: Any = model.predictor
    parts: list[dict[int, str]] = []
    prompts = [f"{letter}bc=" for letter in "abcdefghijklmnopqrst"]
    with pytest.raises(KeyboardInterrupt):
        parts.extend(adapter.stream(prompts, "reverse"))
    assert sorted(reply for part in parts for reply in part.values()) == [f"cb{letter}" for letter in "abcdef"]
    assert len(server.bodies) == 6


def test_the_next_cell_begins_while_the_last_replies_are_awaited(serve: Serve, tmp_path: Path) -> None:
    """One reply of the first cell comes only after the whole second cell was asked; the third cell waits for it."""
    lengths = [4, 6, 8]
    late = checked_cell(MINI, Cell("reverse", 4))[200].prompt
    asked: list[int] = []
    overlapped: list[bool] = []
    second_is_done = threading.Event()

    def rule(number: int, body: dict[str, Any]) -> Answer:
        prompt = body["messages"][0]["content"].splitlines()[-1]
        asked.append(len(prompt) - 1)
        if asked.count(6) == 256:
            second_is_done.set()
        if prompt == late:
            overlapped.append(second_is_done.wait(30))
            time.sleep(0.1)
            overlapped.append(8 not in asked)
        return right_answer(body)

    model, _ = serve(rule, concurrency="4")
    reports: list[Progress] = []
    result = evaluate(model, tasks=["reverse"], lengths=lengths, output=tmp_path, on_progress=reports.append)
    assert overlapped == [True, True]
    assert [cell.counts.correct for cell in result.cells] == [256] * 3
    assert rescore(tmp_path).result == result
    assert [each.cell.length for each in reports if each.cell_done == each.cell_total] == lengths
    done = [each.done for each in reports]
    assert done == sorted(done)


def test_replies_to_two_cells_at_once_are_resumed(serve: Serve, tmp_path: Path) -> None:
    late = checked_cell(MINI, Cell("reverse", 4))[200].prompt
    asked: list[str] = []

    def rule(number: int, body: dict[str, Any]) -> Answer:
        prompt = body["messages"][0]["content"].splitlines()[-1]
        asked.append(prompt)
        if len(asked) == 400:
            return failure(402, "Pay first")
        while prompt == late and len(asked) < 400:
            time.sleep(0.01)
        return right_answer(body)

    model, _ = serve(rule, concurrency="4")
    choice: dict[str, Any] = {"tasks": ["reverse"], "lengths": [4, 6, 8], "output": tmp_path}
    with pytest.raises(LgbenchError, match="quota is used up"):
        evaluate(model, **choice)
    kept = [json.loads(line)["id"] for line in (tmp_path / "replies.partial.jsonl").read_bytes().splitlines()]
    assert len(kept) == len(asked) - 1
    cells = [each.rpartition("-")[0] for each in kept]
    assert cells != sorted(cells)
    result = evaluate(model, **choice, resume=True)
    assert len(asked) == 3 * 256 + 1
    assert [cell.counts.correct for cell in result.cells] == [256] * 3
    assert result.usage is not None
    assert result.usage.prompt_tokens == 100 * 3 * 256
    assert rescore(tmp_path).result == result


def test_nobody_waits_to_ask_again_when_the_quota_ends(serve: Serve) -> None:
    busy, both = threading.Event(), threading.Barrier(2)

    def rule(number: int, body: dict[str, Any]) -> Answer:
        if both.wait(30) == 0:
            busy.set()
            return failure(429, "slow down", Retry_After="300")
        busy.wait(30)
        return failure(402, "Pay first")

    model, server = serve(rule, concurrency="2")
    with pytest.raises(LgbenchError, match="quota is used up"):
        ask(model, 2)
    assert len(server.bodies) == 2  # neither of them again, five minutes later


def test_replies_under_way_are_kept_when_the_quota_ends(serve: Serve, tmp_path: Path) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        if number == 20:
            return failure(429, "no more", "insufficient_quota")
        time.sleep(0.01 if number < 20 else 1)  # so that the news of the quota comes before their replies
        return right_answer(body)

    model, server = serve(rule, concurrency="8")
    with pytest.raises(LgbenchError, match="quota is used up"):
        evaluate(model, tasks=["reverse"], lengths=[4], limit=50, output=tmp_path)
    kept = (tmp_path / "replies.partial.jsonl").read_bytes().splitlines()
    assert len(kept) == len(server.bodies) - 1
    assert len(kept) < 30


def test_a_run_that_failed_goes_on_with_more_patience(serve: Serve, tmp_path: Path) -> None:
    asked: list[str] = []

    def rule(number: int, body: dict[str, Any]) -> Answer:
        asked.append(body["messages"][0]["content"])
        if len(asked) == 20:
            time.sleep(0.5)
        return right_answer(body)

    server = Server(rule)
    choice: dict[str, Any] = {"tasks": ["reverse"], "lengths": [4], "limit": 50, "output": tmp_path}
    try:
        hasty, _ = serve(rule, base_url=server.url, concurrency="1", retries="0", timeout="0.3")
        with pytest.raises(LgbenchError, match="did not answer in time"):
            evaluate(hasty, **choice)
        patient, _ = serve(rule, base_url=server.url, concurrency="2", timeout="60", price_in="1", price_out="1")
        result = evaluate(patient, **choice, resume=True)
        assert result.cells[0].counts.correct == 50
        assert len(asked) == 51
        other, _ = serve(rule, base_url=server.url, shots="1")
        with pytest.raises(LgbenchError, match=r"another finished run \(options"):
            evaluate(other, **choice, resume=True)
    finally:
        server.close()


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True) if path.exists() else []


def test_a_killed_run_resumes_without_paying_twice(serve: Serve, tmp_path: Path) -> None:
    """Killed when 150 replies are on disk and four more are under way: only those four are asked again."""
    asked: dict[str, int] = {}
    killed = threading.Event()

    def rule(number: int, body: dict[str, Any]) -> Answer:
        prompt = body["messages"][0]["content"].splitlines()[-1]
        asked[prompt] = asked.get(prompt, 0) + 1
        if number >= 150 and not killed.is_set():
            killed.wait(120)
            return 0, {}, b""
        return right_answer(body)

    _, server = serve(rule)
    options = ["--task", "reverse", "--length", "6", "--length", "8", "--output", str(tmp_path / "run")]
    command = [sys.executable, "-m", "lgbench", "eval", "api:tiny", "--model-option", f"base_url={server.url}"]
    command += [*options, "--model-option", "concurrency=4", "--quiet"]
    kept = tmp_path / "run" / "replies.partial.jsonl"
    process = subprocess.Popen(command, env=os.environ | {"OPENAI_API_KEY": KEY})
    try:
        latest = time.monotonic() + 100
        while len(server.bodies) < 154 or len(lines_of(kept)) < 150:
            assert process.poll() is None
            assert time.monotonic() < latest
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        killed.set()
    whole = lines_of(kept)
    assert (len(whole), len(server.bodies)) == (150, 154)
    subprocess.run([*command, "--resume"], env=os.environ | {"OPENAI_API_KEY": KEY}, check=True)
    assert len(server.bodies) == 512 + 4
    result = rescore(tmp_path / "run").result
    assert result.usage is not None
    assert result.usage.prompt_tokens == 100 * 512
    assert sum(cell.counts.correct for cell in result.cells) == 512
    for line in whole:
        example_id = parse_reply_line(line, strict=False)[0]
        index = int(example_id.rpartition("-")[2])
        length = int(example_id.split("-")[1])
        assert asked[checked_cell(MINI, Cell("reverse", length))[index].prompt] == 1


@pytest.mark.parametrize(("said", "recorded"), [(-5, 0), (1e13, 10**12), (10**30, 10**12)])
def test_an_absurd_count_of_tokens_costs_no_result(serve: Serve, tmp_path: Path, said: float, recorded: int) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        status, headers, content = right_answer(body)
        answer = json.loads(content)
        answer["usage"] = {"prompt_tokens": said, "completion_tokens": 10}
        return status, headers, json.dumps(answer).encode()

    model, _ = serve(rule)
    result = evaluate(model, tasks=["reverse"], lengths=[4], limit=3, output=tmp_path)
    assert result.usage is not None
    assert (result.usage.prompt_tokens, result.usage.completion_tokens) == (recorded, 30)


def test_a_count_of_tokens_beyond_all_numbers_is_no_traceback(serve: Serve) -> None:
    endless = right_answer({"prompt": "ab="})[2].replace(b'"prompt_tokens": 100', b'"prompt_tokens": 1e999')
    rule: Rule = lambda number, body: (200, {}, endless) if number == 0 else right_answer(body)  # noqa: E731
    model, server = serve(rule, concurrency="1")
    assert ask(model, 3) == ["ba", *RIGHT[1:]]
    assert len(server.bodies) == 3, "it is a good reply, and paid for"
