"""MODEL `api:...`: keys are shown and stored nowhere, and sent only where they belong."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

pytest.importorskip("openai")

from lgbench.evaluation.evaluator import evaluate
from lgbench.models.api.keys import Secrets
from lgbench.models.api.options import Options
from lgbench.models.loading import load_model
from lgbench.util.errors import LgbenchError
from tests.loopback import Rule, Serve, Server, ask, completion, failure, right_answer

KEY = "sk-proj-Ab1_Cd2-Ef3_Gh4-Ij5_Kl6-Mn7_Op8-Qr9_St0-Uv1_Wx2-Yz3"
BEARER = f"Bearer {KEY}"
WRITTEN = {
    "whole": KEY,
    "header": f"authorization: {BEARER}",
    "first 12": KEY[:12],
    "middle 12": f"x{KEY[20:32]}y",
    "last 12": KEY[-12:],
    "blanks": " ".join(KEY),
    "a new line": f"{KEY[:30]}\n{KEY[30:]}",
    "zero width": "\u200b".join(KEY),
    "quotes": f"'{KEY[:9]}' + '{KEY[9:18]}'",
    "capitals": KEY.upper(),
    "in a URL": f"http://x/?key={quote(KEY, safe='')}&a=1",
    "percent": "".join(f"%{ord(sign):02X}" for sign in KEY),
    "hexadecimal": KEY.encode().hex(),
    "JSON": "".join(f"\\u{ord(sign):04x}" for sign in KEY),
    "JavaScript": "".join(f"\\u{{{ord(sign):X}}}" for sign in KEY),
    "Python": "".join(f"\\x{ord(sign):02x}" for sign in KEY),
    "octal": "".join(f"\\{ord(sign):03o}" for sign in KEY),
    "HTML": "".join(f"&#{ord(sign)};" for sign in KEY),
    "HTML in hexadecimal": "".join(f"&#x{ord(sign):x};" for sign in KEY),
    "a list of bytes": str(list(KEY.encode())),
    "bytes in C": ", ".join(f"0x{ord(sign):02X}" for sign in KEY),
    "percent twice": "".join(f"%25{ord(sign):02X}" for sign in KEY),
    "UTF-16": KEY.encode("utf-16").hex(),
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64 of the header": base64.b64encode(BEARER.encode()).decode(),
    "base64 of a pair": base64.b64encode(f"me:{KEY}".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(f"u={KEY}".encode()).decode().rstrip("="),
}
TRACES = [KEY[start : start + 12].lower() for start in range(len(KEY) - 11)]


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_key_is_found_in_any_form(written: str) -> None:
    secrets = Secrets([KEY, ""])
    assert written in secrets
    cleaned = secrets.cleaned(f"before {written} after")
    assert "***" in cleaned
    assert cleaned.startswith("before ")
    assert cleaned.endswith(" after")
    assert cleaned not in secrets
    assert len(cleaned) < len("before *** after") + 30


def test_what_is_no_key_stays() -> None:
    secrets = Secrets([KEY, "none"])
    text = f"The request {KEY[:11]} of 123456789012345678901234567890 abcdefghijklmnopqrstuvwxyz is no good."
    assert text not in secrets
    assert secrets.cleaned(text) == text
    assert "It is a secret of mine, a very long one." not in Secrets(["a-s-e-c-r-e-t"])
    assert "My key is a/b+c=d3 indeed" in Secrets(["a/b+c=d3"])
    assert secrets.cleaned("") == ""
    assert secrets.cleaned("nonetheless none") == "nonetheless ***"
    assert "none" not in secrets


@pytest.mark.parametrize("padding", range(200, 310, 7))
def test_a_key_at_the_cut_of_a_message_does_not_show(serve: Serve, padding: int) -> None:
    """The server's text is cut at 300 characters, and at 100 where it is no JSON."""
    texts = [f"{'x ' * (padding // 2)}{written}" for written in (KEY, " ".join(KEY))]
    faults = [failure(400, text) for text in texts]
    faults += [failure(500, text) for text in texts]
    faults += [(200, {}, text[-(100 + len(KEY)) :].encode()) for text in texts]
    for fault in faults:
        model, _ = serve(lambda number, body, fault=fault: fault, retries="0")
        with pytest.raises(LgbenchError) as caught:
            ask(model, 1)
        shown = "".join(str(caught.value).lower().split())
        assert not [trace for trace in TRACES if trace in shown]


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_a_key_in_a_reply_is_not_kept(serve: Serve, tmp_path: Path, written: str) -> None:
    rule: Rule = lambda number, body: right_answer(body) if number == 0 else completion(f"a {written}")  # noqa: E731
    model, _ = serve(rule, concurrency="1")
    with pytest.raises(LgbenchError, match="wrote the key into its reply") as caught:
        evaluate(model, tasks=["reverse"], lengths=[4], limit=3, output=tmp_path)
    assert KEY not in str(caught.value)
    assert len((tmp_path / "replies.partial.jsonl").read_bytes().splitlines()) == 1
    assert all(written not in path.read_text() for path in tmp_path.iterdir() if path.suffix == ".jsonl")


def test_a_key_in_a_warning_does_not_show(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    slow = failure(429, f"slow down, {KEY[:40]}", Retry_After="11")
    model, _ = serve(lambda number, body: slow, retries="1", concurrency="1")
    adapter: Any = model.predictor

    async def rest(seconds: float, over: Any) -> None:
        pass

    adapter._endpoint._rest = rest
    with pytest.raises(LgbenchError, match=r"slow down, \*\*\*"):
        ask(model, 1)
    assert "slow down, ***" in caplog.text
    assert not [trace for trace in TRACES if trace in caplog.text.lower()]


@pytest.mark.parametrize("option", ["base_url", "template"])
def test_an_option_that_holds_the_key_is_refused(option: str) -> None:
    given = {"base_url": "http://127.0.0.1:1/v1", "endpoint": "completions"}
    given |= {"base_url": f"http://127.0.0.1:1/{KEY}"} if option == "base_url" else {"template": f"{KEY} {{prompt}}"}
    with pytest.raises(LgbenchError, match=f"{option} holds a key") as caught:
        load_model("api:tiny", given)
    assert KEY not in str(caught.value)


def test_an_organisation_that_a_server_writes_back_does_not_show(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-0123456789abcdef")
    model, _ = serve(lambda number, body: failure(400, "no member of org-0123456789abcdef"), retries="0")
    with pytest.raises(LgbenchError, match=r"no member of \*\*\*"):
        ask(model, 1)


AMBIENT = {
    "OPENAI_ORG_ID": "org-of-mine-123456",
    "OPENAI_PROJECT_ID": "proj-of-mine-123456",
    "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-ambient-secret-1\nX-Gateway: gateway-secret-1",
    "OPENAI_ADMIN_KEY": "sk-admin-of-mine-123456",
}


@pytest.mark.parametrize(
    ("named", "sent"),
    [({}, "Bearer none"), ({"key_env": "OPENAI_API_KEY"}, BEARER), ({"key_env": "ITS"}, "Bearer its-key")],
)
def test_another_server_gets_no_key_that_is_not_named_for_it(
    monkeypatch: pytest.MonkeyPatch, named: dict[str, str], sent: str
) -> None:
    for name, value in {**AMBIENT, "ITS": "its-key"}.items():
        monkeypatch.setenv(name, value)
    server = Server(lambda number, body: right_answer(body))
    model: Any = load_model("api:tiny", {"base_url": server.url, **named})
    try:
        ask(model, 1)
    finally:
        model.predictor.close()
        server.close()
    (headers,) = server.headers
    assert headers.pop("authorization") == sent
    assert set(headers) <= {
        "accept",
        "accept-encoding",
        "connection",
        "content-length",
        "content-type",
        "host",
        "user-agent",
    }
    told = json.dumps(headers) + json.dumps(server.bodies)
    assert not [value for value in ("of-mine", "secret", KEY) if value in told]


def test_a_server_that_misses_its_key_says_how_to_name_it(serve: Serve) -> None:
    server = Server(lambda number, body: failure(401, "Who are you?"))
    model: Any = load_model("api:tiny", {"base_url": server.url})
    try:
        with pytest.raises(LgbenchError, match=r"No key was sent: OPENAI_API_KEY is for OpenAI's .*key_env=NAME"):
            ask(model, 1)
    finally:
        model.predictor.close()
        server.close()


@pytest.mark.parametrize(
    ("url", "is_openai", "is_exposed"),
    [
        ("https://api.openai.com/v1", True, False),
        ("https://api.openai.com/v1/", True, False),
        ("https://API.openai.com:443/v1", True, False),
        ("https://eu.api.openai.com/v1", True, False),
        ("http://api.openai.com/v1", False, True),
        ("https://api.openai.com:8443/v1", False, False),
        ("https://api.openai.com.example.org/v1", False, False),
        ("https://myapi.openai.com.x/v1", False, False),
        ("https://notapi.openai.com/v1", False, False),
        ("http://localhost:8000/v1", False, False),
        ("http://127.8.9.1/v1", False, False),
        ("http://[::1]:8000/v1", False, False),
        ("http://192.168.1.5:8000/v1", False, True),
        ("http://localhost.example.org/v1", False, True),
    ],
)
def test_whose_server_it_is_and_who_can_listen(url: str, is_openai: bool, is_exposed: bool) -> None:
    options = Options(base_url=url)
    assert (options.is_openai, options.is_exposed) == (is_openai, is_exposed)


def test_a_network_that_reads_along_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    models: list[Any] = [
        load_model("api:tiny", {"base_url": "http://model.invalid/v1", "key_env": "OPENAI_API_KEY"}),
        load_model("api:tiny", {"base_url": "http://model.invalid/v1"}),
        load_model("api:tiny", {"base_url": "http://127.0.0.1:1/v1"}),
        load_model("api:tiny", {"base_url": "https://model.invalid/v1"}),
    ]
    for model in models:
        model.predictor.close()
    assert caplog.messages == [
        "http://model.invalid/v1 is not encrypted: the prompts and the key can be read on the way.",
        "http://model.invalid/v1 is not encrypted: the prompts can be read on the way.",
    ]
