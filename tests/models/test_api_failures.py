"""MODEL `api:...` against servers that fail in every way there is."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from lgbench.data.cells import checked_cell
from lgbench.data.suites import Cell, load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import rescore
from lgbench.models.api import requests
from lgbench.models.api.answers import retry_after
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError
from tests.loopback import KEY, RIGHT, Answer, Rule, Serve, ask, completion, failure, right_answer

MINI = load_suite("mini-v1")


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
    with pytest.raises(LgbenchError, match=r"no such field\. It asked for .* It refused a harmless text too"):
        ask(model, 64)
    assert len(server.bodies) == 2
    assert server.bodies[1]["messages"][0]["content"] == "1+1="


def test_a_context_that_is_too_short_for_many_prompts_does_not_end_the_run(serve: Serve) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        is_short = len(body["messages"][0]["content"]) + body["max_tokens"] < 30
        return completion("2") if is_short else failure(400, "too long")

    model, server = serve(rule, concurrency="1", refused="empty")
    assert ask(model, 50) == [""] * 50
    assert len(server.bodies) == 2 * 50


def test_a_server_that_is_busy_when_the_harmless_text_comes_is_asked_again(serve: Serve) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        if body["messages"][0]["content"] == "1+1=":
            return failure(429, "slow down", Retry_After="0") if number == 1 else completion("2")
        return failure(400, "too long")

    model, server = serve(rule, concurrency="1", refused="empty")
    assert ask(model, 1) == [""]
    assert len(server.bodies) == 3


def test_a_filtered_reply_is_a_refusal(serve: Serve) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        is_harmless = body["messages"][0]["content"] == "1+1="
        return right_answer(body) if number == 0 or is_harmless else completion(None, finish="content_filter")

    with pytest.raises(LgbenchError, match=r"filtered the reply\. It asked for reverse of 'abc='"):
        ask(serve(rule, concurrency="1")[0], 2)
    model, _ = serve(rule, concurrency="1", refused="empty")
    assert ask(model, 2) == ["c", ""]
    used: Any = model.predictor
    assert used.tokens == (300, 30)  # a filtered reply is paid for, and so is the harmless text


def test_a_run_that_a_refusal_stopped_goes_on_past_it(serve: Serve, tmp_path: Path) -> None:
    model, server = serve(refusing_b, concurrency="1")
    wanted: dict[str, Any] = {"suite": "mini-v1", "tasks": ["reverse"], "lengths": [2], "output": tmp_path / "run"}
    with pytest.raises(LgbenchError, match="run it with --model-option refused=empty, and --resume"):
        evaluate(model, **wanted)
    more = load_model("api:tiny", {"base_url": server.url, "concurrency": "1", "refused": "empty"})
    counts = evaluate(more, **wanted, resume=True).cells[0].counts
    refused = sum(example.prompt.startswith("b") for example in checked_cell(MINI, Cell("reverse", 2)))
    assert (counts.total, counts.correct, counts.refused) == (256, 256 - refused, refused)
    assert rescore(tmp_path / "run").result.cells[0].counts == counts
    assert len(server.bodies) == 256 + 1 + refused  # the one that stopped it, and a harmless text for each


def test_a_key_in_a_reply_is_not_kept(serve: Serve) -> None:
    model, _ = serve(lambda number, body: completion(f"Bearer {KEY}"))
    with pytest.raises(LgbenchError, match="wrote the key into its reply") as caught:
        ask(model, 1)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("zone", [" GMT", "", " -0000", " +0000"])
def test_a_date_as_retry_after(zone: str) -> None:
    later = datetime.now(UTC) + timedelta(hours=10)
    seconds = retry_after({"retry-after": f"{later:%a, %d %b %Y %H:%M:%S}{zone}"})
    assert seconds is not None
    assert 9 * 3600 < seconds <= 10 * 3600
    assert retry_after({"retry-after": f"Wed, 21 Oct 2015 07:28:00{zone}"}) == 0


@pytest.mark.parametrize(
    "value", ["soon", "", "Wed, 99 Oct 2015 07:28:00 GMT", "Wed", "Wed, 21 Oct 99999 07:28:00 GMT", "nan", "inf"]
)
def test_nonsense_as_retry_after(value: str) -> None:
    assert retry_after({"retry-after": value}) is None
    assert retry_after({}) is None


def test_an_absurd_pause_is_told_in_few_digits(serve: Serve) -> None:
    model, _ = serve(lambda number, body: failure(429, "slow", Retry_After="1e300"), concurrency="1")
    with pytest.raises(LgbenchError, match=r"asks to wait 1000000000 s\. Resume the run then"):
        ask(model, 1)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses before each repetition, in seconds. None is waited for."""
    seconds_of: list[float] = []

    async def rest(self: requests.Endpoint, seconds: float, over: asyncio.Event) -> None:
        seconds_of.append(seconds)

    monkeypatch.setattr(requests.Endpoint, "_rest", rest)
    monkeypatch.setattr(requests, "_FIRST_DELAY", 0.5)
    return seconds_of


def test_the_pause_doubles_and_has_a_limit(serve: Serve, pauses: list[float]) -> None:
    """A server that fails eleven times: each pause is twice the one before, give or take a quarter, up to a minute."""
    fault = failure(500, "oops")
    rule: Rule = lambda number, body: fault if 1 <= number <= 11 else right_answer(body)  # noqa: E731
    model, server = serve(rule, concurrency="1", retries="11")
    assert ask(model, 2) == RIGHT[:2]
    assert len(server.bodies) == 2 + 11
    wanted = [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert all(0.75 * most <= pause <= 1.25 * most for pause, most in zip(pauses, wanted, strict=True))
    assert len({pause / most for pause, most in zip(pauses, wanted, strict=True)}) > 1, "they differ by chance"


@pytest.mark.parametrize("said", ["0", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_server_that_asks_for_no_pause_gets_one(serve: Serve, pauses: list[float], said: str) -> None:
    fault = failure(500, "oops", Retry_After=said)
    model, _ = serve(lambda number, body: fault if number == 0 else right_answer(body), concurrency="1")
    assert ask(model, 1) == RIGHT[:1]
    assert 0.375 <= pauses[0] <= 0.625


@pytest.mark.parametrize(
    ("fault", "tries", "message"),
    [
        (failure(401, f"Incorrect API key provided: {KEY}"), 1, r"refused the key \(status 401\).*provided: \*\*\*"),
        (failure(401, "no"), 1, "Check the environment variable OPENAI_API_KEY"),
        (failure(403, "not for you"), 1, r"forbids this.*\(status 403\): not for you"),
        (failure(429, "You exceeded your quota", "insufficient_quota"), 1, "quota is used up: You exceeded"),
        (failure(402, "Pay first"), 1, "quota is used up: Pay first"),
        (failure(404, "no model tiny"), 1, "knows no such model or address .*: no model tiny"),
        (
            failure(400, "temperature must be 1"),
            1,
            r"\(status 400\): temperature must be 1.* such a model cannot be eval",
        ),
        ((200, {}, b'{"error": {"message": "not loaded"}}'), 3, r"with an error: not loaded \(after 3 tries\)"),
        (failure(429, "later", Retry_After="86400"), 1, "asks to wait 86400 s"),
        (failure(429, "slow down"), 4, r"slow down \(after 4 tries\)"),
        (failure(500, "oops"), 3, r"status 500: oops \(after 3 tries\)"),
        (
            (200, {}, b"<html>Welcome</html>"),
            3,
            r"answered with HTML, not JSON \(after 3 tries\)\. Check base_url, which",
        ),
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


def test_a_server_that_renamed_the_cap(serve: Serve) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        if "max_tokens" in body:
            return failure(400, "Use 'max_completion_tokens' instead of 'max_tokens'.")
        return right_answer(body)

    model, server = serve(rule, concurrency="1", retries="0")
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
