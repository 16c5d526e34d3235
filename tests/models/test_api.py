"""MODEL `api:...` against a server on loopback: what is asked, and what is recorded."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from lgbench.data.suites import load_suite
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.rescoring import rescore
from lgbench.models.api.answers import Completion
from lgbench.models.api.requests import Endpoint
from lgbench.models.contract import CappedReply, Tokens
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError
from tests.loopback import KEY, RIGHT, Answer, Rule, Serve, Server, ask, completion, right_answer

MINI = load_suite("mini-v1")


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


def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    proxy = Server(lambda number, body: right_answer(body))
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, proxy.url.removesuffix("/v1"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    try:
        model, _ = serve(lambda number, body: right_answer(body), base_url="http://model.invalid/v1")
        assert ask(model) == RIGHT
    finally:
        proxy.close()
    assert proxy.headers[0]["host"] == "model.invalid"


def test_concurrency_is_bounded_and_used(serve: Serve) -> None:
    # The first five wait for each other, and then a while for a sixth, which must not come.
    all_five = threading.Barrier(5, action=lambda: time.sleep(0.2))

    def rule(number: int, body: dict[str, Any]) -> Answer:
        if number < 5:
            all_five.wait(30)
        return right_answer(body)

    model, server = serve(rule, concurrency="5")
    ask(model, 40)
    assert not all_five.broken
    assert server.most_under_way == 5
    assert len(server.bodies) == 40


def test_no_two_requests_begin_in_one_turn_of_the_event_loop(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    turns = [0]
    begun: list[int] = []

    def turn() -> None:
        turns[0] += 1
        if len(begun) < 40:
            asyncio.get_running_loop().call_soon(turn)

    async def complete(self: Endpoint, body: dict[str, Any], **_: Any) -> Completion:
        if not begun:
            asyncio.get_running_loop().call_soon(turn)
        begun.append(turns[0])
        await asyncio.sleep(0)  # so that the answers of several come together
        return Completion("", capped=False, tokens=Tokens())

    monkeypatch.setattr(Endpoint, "complete", complete)
    model, _ = serve(lambda number, body: right_answer(body), concurrency="8")
    ask(model, 40)
    assert len(begun) == 40
    assert begun == sorted(set(begun))


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"api_key": "x"}, "'api_key' is refused.*environment variable OPENAI_API_KEY"),
        ({"base_url": "localhost:8000"}, "is not a URL"),
        ({"base_url": "http://[::1/v1"}, "is not a URL"),
        ({"base_url": "http://localhost:99999/v1"}, "is not a URL"),
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
