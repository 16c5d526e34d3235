"""MODEL `api:...`: what counts as a reply, what a server's error says, and how often a prompt is paid for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from lgbench.evaluation.evaluator import evaluate
from lgbench.models.api.words import said_in
from lgbench.models.contract import CappedReply, RefusedReply
from lgbench.util.errors import LgbenchError
from tests.loopback import RIGHT, Answer, Rule, Serve, ask, choice, completion, right_answer

ASSISTANT = {"role": "assistant"}
CAP = {"finish_reason": "length"}
TEXT = {"type": "text", "text": "<answer>c"}
TOOL = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]


def said(status: int, content: Any, **headers: str) -> Answer:
    return status, headers, content.encode() if isinstance(content, str) else json.dumps(content).encode()


@pytest.mark.parametrize(
    ("fields", "reply", "kind"),
    [
        ({"message": {**ASSISTANT, "reasoning": "Hm"}, "finish_reason": "length"}, "", CappedReply),
        ({"message": {**ASSISTANT, "reasoning_content": "Hm", "content": None}, **CAP}, "", CappedReply),
        ({"message": {**ASSISTANT, "reasoning": "Hm"}, "finish_reason": "stop"}, "", str),
        ({"message": ASSISTANT, "finish_reason": "MAX_TOKENS"}, "", CappedReply),
        ({"message": None, "finish_reason": "length"}, "", CappedReply),
        ({"finish_reason": "length"}, "", CappedReply),
        ({"message": {**ASSISTANT, "content": "abc"}, "finish_reason": "model_length"}, "abc", CappedReply),
        ({"message": {**ASSISTANT, "content": "abc"}, "finish_reason": None}, "abc", str),
        ({"message": {**ASSISTANT, "content": None, "tool_calls": TOOL}, "finish_reason": "tool_calls"}, "", str),
        ({"message": {**ASSISTANT, "content": None, "refusal": "I can't."}, "finish_reason": "stop"}, "I can't.", str),
        ({"message": {**ASSISTANT, "content": [TEXT, {"type": "text", "text": "</answer>"}]}}, "c", str),
        ({"message": {**ASSISTANT, "content": [{"type": "thinking", "thinking": [TEXT]}, "ab"]}}, "ab", str),
        ({"message": {**ASSISTANT, "content": [{"type": "refusal", "refusal": "No."}]}}, "No.", str),
        ({"message": {**ASSISTANT, "content": []}, "finish_reason": "max_tokens"}, "", CappedReply),
        ({"text": None, "finish_reason": "length"}, "", CappedReply),
        ({"text": "abc", "finish_reason": "model_length"}, "abc", CappedReply),
    ],
)  # fmt: skip
def test_every_answer_is_a_reply_and_asked_for_once(
    serve: Serve, fields: dict[str, Any], reply: str, kind: type[str]
) -> None:
    endpoint = "completions" if "text" in fields else "chat"
    model, server = serve(lambda number, body: choice(**fields), endpoint=endpoint)
    replies = ask(model, 2)
    assert replies == [reply] * 2
    assert [type(each) for each in replies] == [kind] * 2
    assert len(server.bodies) == 2


def test_reasoning_to_the_cap_is_counted_and_not_asked_again(serve: Serve, tmp_path: Path) -> None:
    model, server = serve(lambda number, body: choice(message={**ASSISTANT, "reasoning": "Hm"}, finish_reason="length"))
    result = evaluate(model, tasks=["reverse"], lengths=[4], limit=10, output=tmp_path)
    counts = result.cells[0].counts
    assert (counts.total, counts.correct, counts.capped) == (10, 0, 10)
    assert result.usage is not None
    assert result.usage.completion_tokens == 100
    assert len(server.bodies) == 10


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY"])
def test_a_filter_by_any_name_is_a_refusal(serve: Serve, reason: str) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        is_harmless = body["messages"][0]["content"] == "1+1="
        return completion("2") if is_harmless else choice(message=ASSISTANT, finish_reason=reason)

    model, _ = serve(rule, refused="empty")
    assert [type(reply) for reply in ask(model, 2)] == [RefusedReply] * 2


USELESS = [
    {"choices": []},
    {"choices": None},
    {"hello": 1},
    {"choices": [{}]},
    {"choices": [{"message": {"content": 5}}]},
    {"choices": [{"message": {"content": {"text": {"value": "c"}}}}]},
    '{"choices": [{"message": {"content": "<ans',
    'data: {"choices": [{"delta": {"content": "c"}}]}\n\ndata: [DONE]\n\n',
    '{"message": {"content": "c"}}\n{"done": true}\n',
    "c",
]


@pytest.mark.parametrize("useless", USELESS)
def test_a_useless_answer_is_paid_for_three_times_at_most(serve: Serve, useless: Any) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        return said(200, useless) if body["messages"][0]["content"].endswith("\n\nabc=") else right_answer(body)

    model, server = serve(rule, concurrency="1")
    with pytest.raises(LgbenchError, match=r"\(after 3 tries\)\. It asked for reverse of 'abc='\. .*refused=empty"):
        ask(model)
    assert len(server.bodies) == 1 + 3
    model, server = serve(rule, concurrency="1", refused="empty")
    assert ask(model) == [RIGHT[0], "", RIGHT[2]]
    assert len(server.bodies) == 1 + 3 + 1 + 1  # one of them is the harmless text


def test_an_answer_in_a_stream_is_called_one(serve: Serve) -> None:
    model, _ = serve(lambda number, body: said(200, 'data: {"choices": []}\n\n'), retries="0")
    with pytest.raises(LgbenchError, match=r"It streams its answer, though that was not asked for\.$"):
        ask(model, 1)


def test_a_byte_order_mark_is_no_part_of_an_answer(serve: Serve) -> None:
    model, _ = serve(lambda number, body: said(200, "\ufeff" + right_answer(body)[2].decode()))
    assert ask(model) == RIGHT
    model, _ = serve(lambda number, body: said(400, '\ufeff{"error": "Too long."}'))
    with pytest.raises(LgbenchError, match=r"\(status 400\): Too long\. It asked"):
        ask(model, 1)


def test_an_answer_that_the_server_broke_off_is_no_reply(serve: Serve) -> None:
    """As routers say it: an upstream error, in a choice."""
    error = {"code": 502, "message": "The provider hung up"}
    failed = choice(message={**ASSISTANT, "content": ""}, finish_reason="error", error=error)
    model, _ = serve(lambda number, body: failed if number == 0 else right_answer(body), concurrency="1")
    assert ask(model) == RIGHT
    model, _ = serve(lambda number, body: failed, retries="0")
    with pytest.raises(LgbenchError, match="status 502: The provider hung up"):
        ask(model, 1)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "No such thing."}}', "No such thing"),
        ('{"error": "inputs must have less than 512 tokens", "error_type": "validation"}',
         "inputs must have less than 512 tokens"),
        ('{"error": {"message": {"error": {"message": "inner"}}}}', "inner"),
        ('{"message": "Bad Request", "error": {"message": "too big"}}', "Bad Request; too big"),
        ('{"Message": "from a gateway"}', "from a gateway"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted", "type": "x"}]}',
         "max_tokens: Extra inputs are not permitted"),
        ('{"error": ["first", "second"]}', "first; second"),
        ('[{"error": {"code": 400, "message": "in a list", "status": "INVALID_ARGUMENT"}}]', "in a list"),
        ('{"errors": [{"code": 7, "message": "one of several"}]}', "one of several"),
        ('{"error": true, "reason": "why"}', "why"),
        ('{"error": {"code": "model_overloaded"}}', "model_overloaded"),
        ('{"odd": {"form": 1}}', '{"odd": {"form": 1}}'),
        ('"just a string"', "just a string"),
        ("plain\ttext\n of two lines", "plain text of two lines"),
        ("<!doctype html><html><head><title>502 &amp; more</title></head><body><h1>x</h1></body></html>", "502 & more"),
        ("<Error><Code>7</Code><Message>as XML</Message></Error>", "7 as XML"),
        ("", ""),
        ("{}", ""),
        ("[" * 100_000, "[" * 100_000),
        ("<" * 40_000, "<" * 40_000),
    ],
)  # fmt: skip
def test_a_server_is_quoted_whatever_form_its_error_has(body: str, words: str) -> None:
    assert said_in(body).words == words


@pytest.mark.parametrize(
    ("status", "content", "message"),
    [
        (422, {"error": "inputs must have less than 512 tokens", "error_type": "validation"},
         r"\(status 422\): inputs must have less than 512 tokens\. Its context is too short .*refused=empty"),
        (404, {"error": {"message": "This model's maximum context length is 64 tokens"}}, "Its context is too short"),
        (500, "the request exceeds the available context size", "Its context is too short"),
        (400, {"detail": "Model `tiny` was not found"}, r"knows no such model .*\(status 400\): Model `tiny`.*MODEL"),
        (404, "<html><title>Nothing here</title></html>", r"\(status 404\): Nothing here\. Check MODEL and base_url"),
        (400, {"message": "API key not valid. Please pass a valid API key."}, "refused the key .*Check the environm"),
        (422, {"detail": [{"loc": ["body", "temperature"], "msg": "must be greater than 0"}]},
         r"temperature: must be greater than 0\. .* such a model cannot be evaluated"),
        (400, {"error": {"message": "Your credit balance is too low"}}, "quota is used up: Your credit balance"),
        (405, "", r"refused the request \(status 405\)\. Check base_url"),
        (418, {"detail": {"reason": "a teapot"}}, r"\(status 418\): a teapot\. Check base_url"),
        (200, {"error": {"message": "no such model: x", "code": 404}}, r"\(status 404\): no such model: x"),
        (200, {"detail": "The model `tiny` does not exist"}, "knows no such model or address: The model"),
        (400, {"error": {"message": "a\x1b[31mred\x07\u202e"}}, r"a\\x1b\[31mred\\x07\\u202e"),
    ],
)  # fmt: skip
def test_known_remedies_are_found_in_any_form(serve: Serve, status: int, content: Any, message: str) -> None:
    model, server = serve(lambda number, body: said(status, content), concurrency="1")
    with pytest.raises(LgbenchError, match=message):
        ask(model, 1)
    assert len(server.bodies) == 1


def test_a_stop_text_that_is_not_taken(serve: Serve) -> None:
    refusal = said(400, {"error": "Unsupported parameter: 'stop' is not supported with this model."})
    model, _ = serve(lambda number, body: refusal, endpoint="completions", style="instruct")
    with pytest.raises(LgbenchError, match=r"It takes no stop text: give --model-option endpoint=chat, or style=raw"):
        ask(model, 1)


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (400, {"error": {"message": "Use 'max_completion_tokens' instead.", "code": "unsupported_parameter"}}),
        (422, {"detail": [{"loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]}),
        (404, {"error": "Unsupported parameter: max_tokens"}),
        (403, "please use max_completion_tokens"),
        (200, {"error": "max_tokens is not supported"}),
    ],
)
def test_the_other_name_of_the_cap_is_found_in_any_form(serve: Serve, endpoint: str, status: int, content: Any) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        return said(status, content) if "max_tokens" in body else completion("abc", chat=endpoint == "chat")

    model, server = serve(rule, concurrency="1", retries="0", endpoint=endpoint)
    assert ask(model) == ["abc"] * 3
    assert ["max_completion_tokens" in body for body in server.bodies] == [False, True, True, True]


def test_a_busy_server_that_names_remedies_is_only_busy(serve: Serve) -> None:
    told = "Rate limit reached for tokens per minute: reduce max_completion_tokens or your context length; see quota"
    rule: Rule = lambda number, body: said(429, {"error": told}, Retry_After="0") if number < 2 else right_answer(body)  # noqa: E731
    model, server = serve(rule, concurrency="1")
    assert ask(model) == RIGHT
    assert all("max_tokens" in body for body in server.bodies)
    assert len(server.bodies) == 5
