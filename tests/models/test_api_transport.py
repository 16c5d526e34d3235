"""MODEL `api:...`: redirects, answers without an end, and answers that are too large."""

from __future__ import annotations

import asyncio
import functools
import gzip
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

pytest.importorskip("openai")

from lgbench.models.api.transport import Transport
from lgbench.util.errors import LgbenchError
from tests.loopback import RIGHT, Answer, Rule, Serve, Server, ask, completion, right_answer


def redirect(status: int, location: str) -> Answer:
    return status, {"Location": location}, b"Moved"


@pytest.mark.parametrize("status", [301, 302, 303])
def test_a_redirect_that_loses_the_prompt_names_the_address(serve: Serve, status: int) -> None:
    model, server = serve(lambda number, body: redirect(status, "/api/v1/chat/completions"), concurrency="1")
    base = server.url.removesuffix("/v1")
    with pytest.raises(LgbenchError, match=rf"\(status {status}\) to {base}/api/v1/chat/completions, .*=.*") as caught:
        ask(model, 1)
    assert str(caught.value).endswith(f"To use it, give --model-option base_url={base}/api/v1.")
    assert (len(server.bodies), server.gets) == (1, [])


def test_a_redirect_does_not_advise_the_address_in_use(serve: Serve) -> None:
    model, _ = serve(lambda number, body: redirect(301, "/v1/chat/completions/"), concurrency="1")
    with pytest.raises(LgbenchError, match=r"to http://[0-9.:]+/v1/chat/completions/, .* Check base_url\.$"):
        ask(model, 1)


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_within_the_server_is_followed(serve: Serve, status: int) -> None:
    def rule(number: int, body: dict[str, Any]) -> Answer:
        is_moved = server.paths[number].startswith("/new")
        return right_answer(body) if is_moved else redirect(status, "/new/v1/chat/completions")

    model, server = serve(rule, concurrency="1")
    assert ask(model) == RIGHT
    assert server.headers[1]["authorization"] == server.headers[0]["authorization"]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_server_is_refused(serve: Serve, status: int) -> None:
    other = Server(lambda number, body: right_answer(body))
    try:
        model, server = serve(lambda number, body: redirect(status, f"{other.url}/chat/completions"), concurrency="1")
        with pytest.raises(LgbenchError, match=rf"another server\. It is not followed, .* base_url={other.url}\."):
            ask(model, 1)
    finally:
        other.close()
    assert (len(server.bodies), other.bodies, other.gets) == (1, [], [])


@pytest.mark.parametrize("location", ["/login?next=x", "http://[::1", "", "javascript:alert(1)", "\x1b[31m/chat"])
def test_a_redirect_to_nowhere_is_a_sentence(serve: Serve, location: str) -> None:
    model, server = serve(lambda number, body: redirect(302, location), concurrency="1")
    with pytest.raises(LgbenchError, match=r"answered with a redirect \(status 302\).*Check base_url") as caught:
        ask(model, 1)
    assert str(caught.value).isprintable()
    assert len(server.bodies) == 1


def test_a_redirect_in_circles_ends(serve: Serve) -> None:
    model, server = serve(lambda number, body: redirect(307, "/v1/chat/completions"), retries="0", concurrency="1")
    with pytest.raises(LgbenchError, match="more than 5 redirects"):
        ask(model, 1)
    assert len(server.bodies) == 5


@pytest.mark.parametrize(
    ("here", "there", "is_followed"),
    [
        ("http://model.test/v1", "https://model.test/v1/", True),
        ("https://model.test/v1", "http://model.test/v1/", False),
        ("https://model.test/v1", "https://model.test:443/v2", True),
        ("https://model.test/v1", "https://model.test:444/v2", False),
        ("https://model.test/v1", "https://sub.model.test/v2", False),
        ("http://model.test:8000/v1", "https://model.test/v1", False),
    ],
)
def test_what_of_a_redirect_may_change(here: str, there: str, is_followed: bool) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(str(request.url))
        return httpx2.Response(200) if len(asked) > 1 else httpx2.Response(308, headers={"Location": there})

    async def post() -> httpx2.Response:
        async with Transport(key="", timeout=9, connections=1, is_openai=False) as client:
            client._transport = httpx2.MockTransport(answer)
            client._mounts = {}
            answered: httpx2.Response = await client.send(httpx2.Request("POST", here, content=b"{}"))
            return answered

    response = asyncio.run(post())
    assert (response.status_code, len(asked)) == ((200, 2) if is_followed else (308, 1))


def drip(first: bytes) -> Iterator[bytes]:
    """Blanks without an end, one every 20 ms; ended after 20 s, in case nobody hangs up."""
    yield first
    for _ in range(1000):
        time.sleep(0.02)
        yield b" "


@pytest.mark.parametrize("status", [200, 400])
def test_a_server_that_drips_is_out_of_time(serve: Serve, status: int) -> None:
    rule: Rule = lambda number, body: (status, {"Content_Length": "1000000"}, drip(b'{"choices": '))  # noqa: E731
    model, server = serve(rule, timeout="0.3", retries="1", concurrency="1")
    with pytest.raises(LgbenchError, match=r"did not answer in time \(see --model-option timeout=SECONDS\) \(after 2"):
        ask(model, 1)
    assert len(server.bodies) == 2


@functools.cache
def packed(size: int, *, layers: int = 1) -> bytes:
    """So many bytes of blanks, packed."""
    content = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    pieces = [content.compress(b" " * 1_000_000) for _ in range(size // 1_000_000)]
    whole = b"".join([*pieces, content.flush()])
    for _ in range(layers - 1):
        whole = gzip.compress(whole)
    return whole


@pytest.mark.parametrize(("encoding", "layers"), [("gzip", 1), ("gzip, gzip", 2)])
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.slow
def test_a_packed_answer_is_not_unpacked_whole(serve: Serve, status: int, encoding: str, layers: int) -> None:
    content = packed(300_000_000, layers=layers)
    model, server = serve(lambda number, body: (status, {"Content_Encoding": encoding}, content), retries="1")
    tracemalloc.start()
    try:
        message = r"with more than 10 MB \(after 2 tries\)" if status == 200 else r"refused the request \(status 400\)"
        with pytest.raises(LgbenchError, match=message):
            ask(model, 1)
        assert tracemalloc.get_traced_memory()[1] < 60_000_000
    finally:
        tracemalloc.stop()
    assert len(server.bodies) == (2 if status == 200 else 1)


def test_a_long_answer_that_is_packed_is_read(serve: Serve) -> None:
    text = completion(" " * 3_000_000 + "<answer>c</answer>")[2]
    model, _ = serve(lambda number, body: (200, {"Content_Encoding": "gzip"}, gzip.compress(text)))
    assert ask(model, 1) == ["c"]


def test_an_answer_in_an_odd_character_set_is_json_all_the_same(serve: Serve) -> None:
    for name in ("utf-16", "zlib_codec", "base64", "nonsense"):
        model, _ = serve(
            lambda number, body, name=name: (200, {"Content_Type": f"a/b; charset={name}"}, right_answer(body)[2])
        )
        assert ask(model, 1) == RIGHT[:1]
