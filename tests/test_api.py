"""MODEL `api:...` against servers on loopback that fail in every way there is."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from lgbench.cells import checked_cell
from lgbench.errors import LgbenchError
from lgbench.evaluation import evaluate
from lgbench.models.api import requests
from lgbench.models.contract import CappedReply
from lgbench.models.loaded import Model
from lgbench.models.loading import load_model
from lgbench.rescoring import rescore
from lgbench.running.loop import Progress
from lgbench.running.replies import parse_reply_line
from lgbench.suites import Cell, load_suite
from lgbench.tasks import get_task

MINI = load_suite("mini-v1")
KEY = "sk-a-secret-key"
Answer = tuple[int, dict[str, str], bytes]
Rule = Callable[[int, dict[str, Any]], Answer]


def completion(text: str | None, *, finish: str = "stop", chat: bool = True) -> Answer:
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish}
    choice |= {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    return 200, {}, json.dumps({"object": "x", "choices": [choice], "usage": usage}).encode()


def failure(status: int, message: str, code: str = "", **headers: str) -> Answer:
    return status, headers, json.dumps({"error": {"message": message, "code": code, "type": code}}).encode()


def right_answer(body: dict[str, Any]) -> Answer:
    """The target, said as a model would say it."""
    prompt = body["messages"][0]["content"].splitlines()[-1] if "messages" in body else body["prompt"]
    return completion(f"It is <answer>{get_task('reverse').solve(prompt)}</answer>.", chat="messages" in body)


class Server:
    """Answers the n-th request, counted from 0, by a rule. A status of 0 means to hang up without a word."""

    def __init__(self, rule: Rule) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.under_way = self.most_under_way = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    number = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.headers.append({key.lower(): value for key, value in self.headers.items()})
                    outer.under_way += 1
                    outer.most_under_way = max(outer.most_under_way, outer.under_way)
                try:
                    status, headers, content = rule(number, body)
                finally:
                    with lock:
                        outer.under_way -= 1
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for key, value in ({"Content-Length": str(len(content))} | headers).items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(content)
                if int(headers.get("Content_Length", "0")) > len(content):
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(name="serve")
def _serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Model, Server]]]:
    """Start a server that follows a rule, and load a model that asks it. Both are closed in the end."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(requests, "_FIRST_DELAY", 0.01)
    opened: list[Any] = []

    def serve(rule: Rule, **options: str) -> tuple[Model, Server]:
        server = Server(rule)
        model = load_model("api:tiny", {"base_url": server.url} | options)
        opened.extend([model.predictor, server])
        return model, server

    yield serve
    for each in opened:
        each.close()


Serve = Callable[..., tuple[Model, Server]]


def ask(model: Model, count: int = 3) -> list[str]:
    predictor: Any = model.predictor
    return list(predictor.predict([f"{'ab' * number}c=" for number in range(count)], "reverse"))


RIGHT = ["c", "cba", "cbaba"]


def test_a_chat_server_is_asked_as_the_style_says(serve: Serve) -> None:
    model, server = serve(lambda number, body: right_answer(body))
    assert ask(model) == RIGHT
    body = next(body for body in server.bodies if body["messages"][0]["content"].endswith("\n\nabc="))
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0, 4 * 4 + 32)
    assert body["messages"][0]["content"].startswith("Write the string before the = sign backwards.")
    assert body["messages"][0]["content"].count("<answer>") == 1 + 4
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_plain_completions_send_the_template(serve: Serve) -> None:
    rule: Rule = lambda number, body: completion(f"{body['prompt']}<answer>", chat=False)  # noqa: E731
    model, _ = serve(rule, endpoint="completions", template="<{task}>{prompt}")
    assert ask(model, 1) == ["<reverse>c=<answer>"]


@pytest.mark.parametrize(
    ("text", "finish", "reply"),
    [
        ("<answer>c", "stop", "c"),
        ("<answer>c</answer>", "stop", "c"),  # from a server that leaves the stop in
        ("<answer>c</answer>\nabd=\n<answer>dba</answer>", "length", "c"),  # or that knows no stop
        ("<answer>c", "length", "<answer>c"),
        ("c", "stop", "c"),
    ],
)
def test_plain_completions_in_instruct_style_stop_at_the_marker(
    serve: Serve, text: str, finish: str, reply: str
) -> None:
    rule: Rule = lambda number, body: completion(text, finish=finish, chat=False)  # noqa: E731
    model, server = serve(rule, endpoint="completions", style="instruct", shots="0")
    assert ask(model, 1) == [reply]
    assert server.bodies[0]["stop"] == ["</answer>"]


def test_a_reply_that_the_cap_ended_says_so(serve: Serve) -> None:
    model, _ = serve(lambda number, body: completion("abc", finish="length"))
    assert all(isinstance(reply, CappedReply) for reply in ask(model))
    model, _ = serve(lambda number, body: completion(None, finish="length"))
    assert ask(model) == ["", "", ""]


@pytest.mark.parametrize(
    "fault",
    [
        failure(429, "slow down", Retry_After="0"),
        failure(500, "oops"),
        failure(503, "overloaded"),
        (502, {}, b"<html>bad gateway</html>"),
        (200, {"Content_Length": "5000"}, b'{"choices": [{"mess'),
        (200, {}, b"\x00\xffgarbage"),
        (200, {}, b'{"choices": []}'),
        (200, {}, b'{"choices": [{}]}'),
        (200, {}, b'{"choices": [{"message": {"content": 5}}]}'),
        (200, {}, b"[]"),
        (200, {}, b""),
        (200, {"Content_Type": "text/html"}, b"<!doctype html><p>Please log in"),
        (0, {}, b""),
    ],
    ids=["429", "500", "503", "502", "half", "garbage", "no choice", "empty choice", "number", "list", "nothing",
         "html", "hang up"],
)  # fmt: skip
def test_what_may_pass_is_tried_again(serve: Serve, fault: Answer) -> None:
    model, server = serve(lambda number, body: fault if number in (1, 3, 4) else right_answer(body), concurrency="1")
    assert ask(model) == RIGHT
    assert len(server.bodies) == 3 + 3


def test_retry_after_is_honoured(serve: Serve) -> None:
    times: list[float] = []

    def rule(number: int, body: dict[str, Any]) -> Answer:
        times.append(time.monotonic())
        return failure(429, "slow down", Retry_After="1") if number == 0 else right_answer(body)

    model, _ = serve(rule, concurrency="1")
    assert ask(model, 1) == RIGHT[:1]
    assert times[1] - times[0] >= 1


def test_a_busy_server_is_left_alone_by_every_request(serve: Serve) -> None:
    times: list[float] = []

    def rule(number: int, body: dict[str, Any]) -> Answer:
        times.append(time.monotonic())
        if number == 0:
            return failure(429, "slow down", Retry_After="1")
        time.sleep(0.3 if number == 1 else 0)  # so that it ends within the pause
        return right_answer(body)

    model, _ = serve(rule, concurrency="2")
    assert ask(model, 8)[:3] == RIGHT
    assert len(times) == 9
    assert min(times[2:]) - times[0] >= 1


def test_a_refused_request_says_what_it_asked(serve: Serve) -> None:
    model, _ = serve(lambda number, body: failure(400, "content filter"), concurrency="1")
    with pytest.raises(LgbenchError, match=r"content filter\. It asked for reverse of 'c='"):
        ask(model, 1)


def refusing_b(number: int, body: dict[str, Any]) -> Answer:
    prompt = body["messages"][0]["content"].splitlines()[-1]
    return failure(400, f"content filter: {KEY}") if prompt.startswith("b") else right_answer(body)


def test_a_refused_prompt_may_be_left_with_an_empty_reply(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = serve(refusing_b, concurrency="1", refused="empty")
    predictor: Any = model.predictor
    assert predictor.predict(["bc=", "ab=", "cd=", "bd="], "reverse") == ["", "ba", "dc", ""]
    assert len(caplog.messages) == 1
    assert "content filter: ***. It asked for reverse of 'bc='. The reply is left empty" in caplog.text


def test_what_is_refused_every_time_is_not_passed_over(serve: Serve) -> None:
    model, server = serve(lambda number, body: failure(400, "no such field"), concurrency="1", refused="empty")
    with pytest.raises(LgbenchError, match=r"refused 20 prompts and answered none\. .* no such field"):
        ask(model, 64)
    assert len(server.bodies) == 20


def test_a_run_that_a_refusal_stopped_goes_on_past_it(serve: Serve, tmp_path: Path) -> None:
    model, server = serve(refusing_b, concurrency="1")
    wanted: dict[str, Any] = {"suite": "mini-v1", "tasks": ["reverse"], "lengths": [2], "output": tmp_path / "run"}
    with pytest.raises(LgbenchError, match="resume the run with --model-option refused=empty"):
        evaluate(model, **wanted)
    more = load_model("api:tiny", {"base_url": server.url, "concurrency": "1", "refused": "empty"})
    counts = evaluate(more, **wanted, resume=True).cells[0].counts
    refused = sum(example.prompt.startswith("b") for example in checked_cell(MINI, Cell("reverse", 2)))
    assert (counts.total, counts.correct) == (256, 256 - refused)
    assert len(server.bodies) == 256 + 1


def test_a_key_in_a_reply_is_not_kept(serve: Serve) -> None:
    model, _ = serve(lambda number, body: completion(f"Bearer {KEY}"))
    with pytest.raises(LgbenchError, match="wrote the key into its reply") as caught:
        ask(model, 1)
    assert KEY not in str(caught.value)


def test_ctrl_c_waits_for_what_is_paid_for(serve: Serve) -> None:
    """Of twenty questions six are under way: their replies come, and nothing new is asked."""
    main = threading.get_ident()

    def rule(number: int, body: dict[str, Any]) -> Answer:
        if number == 5:
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.5)
        return right_answer(body)

    model, server = serve(rule, concurrency="6")
    predictor: Any = model.predictor
    parts: list[dict[int, str]] = []
    prompts = [f"{letter}bc=" for letter in "abcdefghijklmnopqrst"]
    with pytest.raises(KeyboardInterrupt):
        parts.extend(predictor.stream(prompts, "reverse"))
    assert sorted(reply for part in parts for reply in part.values()) == [f"cb{letter}" for letter in "abcdef"]
    assert len(server.bodies) == 6


def test_a_date_as_retry_after() -> None:
    assert requests._retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert requests._retry_after({"retry-after": "soon"}) is None
    assert requests._retry_after({}) is None


@pytest.mark.parametrize(
    ("fault", "tries", "message"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), 1, r"refused the key \(status 401\).*provided: \*\*\*"),
        (failure(403, "not for you"), 1, "refused the key"),
        (failure(429, "You exceeded your quota", "insufficient_quota"), 1, "quota is used up: You exceeded"),
        (failure(402, "Pay first"), 1, "quota is used up: Pay first"),
        (failure(404, "no model tiny"), 1, "knows no such model or address .*: no model tiny"),
        (failure(400, "temperature must be 1"), 1, r"refused the request \(status 400\): temperature must be 1"),
        (failure(429, "later", Retry_After="86400"), 1, "asks to wait 86400 s"),
        (failure(429, "slow down"), 4, r"slow down \(after 4 tries\)"),
        (failure(500, "oops"), 3, r"status 500: oops \(after 3 tries\)"),
        ((200, {}, b"<html>Welcome</html>"), 3, "answered with HTML, not JSON. Is base_url right"),
        ((200, {}, b'{"hello": 1}'), 3, "which is no OpenAI completion"),
        ((0, {}, b""), 3, "could not be reached or broke off"),
    ],
)
def test_what_will_not_pass_stops_with_a_sentence(serve: Serve, fault: Answer, tries: int, message: str) -> None:
    model, server = serve(lambda number, body: fault, concurrency="1", retries="3")
    with pytest.raises(LgbenchError, match=message) as caught:
        ask(model)
    assert KEY not in str(caught.value)
    assert len(server.bodies) == tries


def test_a_server_that_is_not_there(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    model, server = serve(lambda number, body: right_answer(body))
    server.close()
    with pytest.raises(LgbenchError, match="could not be reached"):
        ask(model)


def test_a_server_that_hangs_up_is_not_taken_for_a_slow_one(serve: Serve) -> None:
    model, _ = serve(lambda number, body: (0, {}, b""), retries="0")
    with pytest.raises(LgbenchError, match="could not be reached or broke off: Server disconnected"):
        ask(model)


def test_a_slow_server(serve: Serve) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        time.sleep(0.5)
        return right_answer(body)

    model, _ = serve(rule, retries="0", timeout="0.1")
    with pytest.raises(LgbenchError, match="did not answer in time"):
        ask(model, 1)


def test_a_server_that_speaks_no_http(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def greet() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(100_000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")

        greeter = threading.Thread(target=greet)
        greeter.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        model, _ = serve(lambda number, body: right_answer(body), base_url=url, retries="0")
        with pytest.raises(LgbenchError, match="could not be reached or broke off") as caught:
            ask(model, 1)
        greeter.join()
    assert KEY not in str(caught.value)


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    proxy = Server(lambda number, body: right_answer(body))
    monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    try:
        model, _ = serve(lambda number, body: right_answer(body), base_url="http://model.invalid/v1")
        assert ask(model) == RIGHT
    finally:
        proxy.close()
    assert proxy.headers[0]["host"] == "model.invalid"


def test_a_server_that_renamed_the_cap(serve: Serve) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            return failure(400, "Use 'max_completion_tokens' instead of 'max_tokens'.")
        return right_answer(body)

    model, server = serve(rule, concurrency="1")
    assert ask(model) == RIGHT
    assert ["max_tokens" in body for body in server.bodies] == [True, False, False, False]

    everyone_has_asked = threading.Barrier(3)

    def rule_when_all_have_asked(number: int, body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            everyone_has_asked.wait(timeout=30)
        return rule(number, body)

    model, server = serve(rule_when_all_have_asked, concurrency="3")
    assert ask(model) == RIGHT
    assert ["max_tokens" in body for body in server.bodies] == [True] * 3 + [False] * 3


def test_concurrency_is_bounded_and_used(serve: Serve) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        time.sleep(0.1)
        return right_answer(body)

    model, server = serve(rule, concurrency="5")
    ask(model, 40)
    assert server.most_under_way == 5


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
        time.sleep(0.01)
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


def test_a_megabyte_reply_is_cut(serve: Serve, tmp_path: Path) -> None:
    model, _ = serve(lambda number, body: completion("a" * 1_000_000))
    result = evaluate(model, tasks=["reverse"], lengths=[4], limit=3, output=tmp_path)
    assert (result.cells[0].counts.cut, result.cells[0].counts.correct) == (3, 0)
    assert rescore(tmp_path).result == result


def test_a_result_records_tokens_and_cost_and_no_key(serve: Serve, tmp_path: Path) -> None:
    model, server = serve(lambda number, body: right_answer(body), price_in="2", price_out="30")
    result = evaluate(model, tasks=["reverse"], lengths=[4, 6], limit=20, output=tmp_path)
    assert sum(cell.counts.correct for cell in result.cells) == 40
    assert result.usage is not None
    assert result.usage.model_dump() == {"prompt_tokens": 4000, "completion_tokens": 400, "cost": 0.02}
    assert result.batch_invariance is None
    assert len(server.bodies) == 40
    assert all(KEY.encode() not in path.read_bytes() for path in tmp_path.iterdir())


def test_a_killed_run_resumes_without_paying_twice(serve: Serve, tmp_path: Path) -> None:
    asked: dict[str, int] = {}

    def rule(number: int, body: dict[str, Any]) -> Answer:
        prompt = body["messages"][0]["content"].splitlines()[-1]
        asked[prompt] = asked.get(prompt, 0) + 1
        time.sleep(0.01)
        return right_answer(body)

    _, server = serve(rule)
    options = ["--task", "reverse", "--length", "6", "--length", "8", "--output", str(tmp_path / "run")]
    command = [sys.executable, "-m", "lgbench", "eval", "api:tiny", "--model-option", f"base_url={server.url}"]
    command += [*options, "--model-option", "concurrency=4", "--quiet"]
    process = subprocess.Popen(command, env=os.environ | {"OPENAI_API_KEY": KEY})
    for _ in itertools.takewhile(lambda _: len(server.bodies) < 150 and process.poll() is None, itertools.count()):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = (tmp_path / "run" / "replies.partial.jsonl").read_bytes().splitlines(keepends=True)
    whole = [line for line in kept if line.endswith(b"\n")]
    assert 100 < len(whole) < 300
    subprocess.run([*command, "--resume"], env=os.environ | {"OPENAI_API_KEY": KEY}, check=True)
    assert len(server.bodies) <= 512 + 4 + 1  # twice are asked only those that were under way
    result = rescore(tmp_path / "run").result
    assert result.usage is not None
    assert result.usage.prompt_tokens == 100 * 512
    assert sum(cell.counts.correct for cell in result.cells) == 512
    for line in whole[:50]:
        example_id = parse_reply_line(line, strict=False)[0]
        index = int(example_id.rpartition("-")[2])
        length = int(example_id.split("-")[1])
        assert asked[checked_cell(MINI, Cell("reverse", length))[index].prompt] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": "x"}, "'api_key' is refused.*environment variable OPENAI_API_KEY"),
        ({"base_url": "localhost:8000"}, "is no URL"),
        ({"base_url": "http://me:pw@localhost/v1"}, "must hold no user, password"),
        ({"concurrency": "0"}, "concurrency=0 is out of range"),
        ({"concurrency": "many"}, "must be of type int"),
        ({"price_in": "1"}, "price_in and price_out go together"),
        ({"price_in": "-1", "price_out": "1"}, "a price is a number from 0 on"),
        ({"timeout": "0"}, "timeout=0.0 is out of range"),
        ({"endpoint": "responses"}, "Valid: chat, completions"),
        ({"fancy": "1"}, "has no model option 'fancy'. Valid: base_url, endpoint"),
        ({"template": "no place"}, "lacks {prompt}"),
    ],
)
def test_options_that_do_not_fit(monkeypatch: pytest.MonkeyPatch, options: dict[str, str], message: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with pytest.raises(LgbenchError, match=message) as caught:
        load_model("api:tiny", options)
    assert "pw" not in str(caught.value)


def test_the_key_is_needed_where_there_is_no_other_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(LgbenchError, match="OPENAI_API_KEY is not set"):
        load_model("api:tiny")
    with pytest.raises(LgbenchError, match="MY_KEY is not set"):
        load_model("api:tiny", {"key_env": "MY_KEY", "base_url": "http://127.0.0.1:1/v1"})


def test_a_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LgbenchError, match=r"openai and aiohttp\. Run, .*: pip install -c constraints.txt '\.\[api\]'"):
        load_model("api:tiny")
