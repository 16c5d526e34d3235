"""How requests travel: to one server only, within a time limit, with answers of bounded size."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import httpx2
import openai

_LARGEST_ANSWER = 10_000_000  # bytes, unpacked: many times what the longest reply can take
_LARGEST_ERROR = 50_000  # of the text of an error, whose beginning is enough
_MOST_REDIRECTS = 5
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NEEDED_HEADERS = frozenset({"accept", "accept-encoding", "connection", "content-length", "content-type", "host",
                             "user-agent"})  # fmt: skip
_KEPT_HEADERS = ("location", "retry-after")


class TooLarge(Exception):  # noqa: N818  # an answer, not an error of ours
    """An answer that is larger than any reply; the rest of it was not read."""

    def __init__(self) -> None:
        super().__init__(f"answered with more than {_LARGEST_ANSWER // 10**6} MB")


class Transport(openai.DefaultAioHttpClient):  # type: ignore[misc]  # half the processor time of the default
    """The HTTP client below the `openai` package's client.

    Args:
        key: The key; empty for servers that need none.
        timeout: Seconds from sending a request to the end of its answer, however slowly that drips.
        connections: The most at once.
        is_openai: Whether the server is OpenAI's. Any other gets the key and what HTTP needs, and no header that the
            `openai` package takes from the environment: those belong to OpenAI's servers.
    """

    def __init__(self, *, key: str, timeout: float, connections: int, is_openai: bool) -> None:
        super().__init__(timeout=None, limits=httpx2.Limits(max_connections=connections))
        self._seconds = timeout
        self._authorization = f"Bearer {key or 'none'}"
        self._is_openai = is_openai

    async def send(self, request: httpx2.Request, *, stream: bool = False, **_: Any) -> httpx2.Response:
        """Send a request and read its whole answer. A redirect is followed only where nothing else changes by it.

        Raises:
            TimeoutError: The answer was not complete in time.
            TooLarge: It is larger than any reply.
        """
        if not self._is_openai:
            for name in set(request.headers) - _NEEDED_HEADERS:
                del request.headers[name]
            request.headers["Authorization"] = self._authorization
        async with asyncio.timeout(self._seconds):
            for _redirect in range(_MOST_REDIRECTS):
                response = await super().send(request, stream=True, follow_redirects=False)
                try:
                    target = _followed(response)
                    if target is None:
                        return await _read(response)
                finally:
                    await response.aclose()
                request = httpx2.Request(request.method, target, headers=request.headers, content=request.content)
        raise httpx2.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects", request=request)


def _followed(response: httpx2.Response) -> str | None:
    """Where a redirect leads, if the same request may go there: to the same server, as a POST, no less encrypted."""
    target = _target(response)
    if response.status_code not in (307, 308) or not target or _moves_to(response, target) != "here":
        return None
    return target


def _target(response: httpx2.Response) -> str:
    """The address that a redirect names; empty where it names none."""
    if not response.has_redirect_location:
        return ""
    try:
        return str(response.url.join(response.headers["location"]))
    except (httpx2.InvalidURL, ValueError):
        return ""


def _moves_to(response: httpx2.Response, target: str) -> Literal["here", "plain", "elsewhere"]:
    """Whether a redirect stays on its server, where it may begin to encrypt, loses encryption there, or leaves it."""
    old, new = response.url, httpx2.URL(target)
    if new.scheme not in _DEFAULT_PORTS or old.host != new.host:
        return "elsewhere"
    ports = [url.port or _DEFAULT_PORTS[url.scheme] for url in (old, new)]
    if old.scheme == new.scheme:
        return "here" if ports[0] == ports[1] else "elsewhere"
    return "plain" if old.scheme == "https" else "here" if ports == [80, 443] else "elsewhere"


def redirect_advice(response: httpx2.Response, path: str) -> str:
    """What to say of a redirect that was not followed.

    Args:
        response: The redirect.
        path: What was added to the base URL, such as `/chat/completions`.
    """
    told = f"answered with a redirect (status {response.status_code})"
    if not (target := _target(response)):
        return f"{told} to no address. Check base_url"
    moved = {
        "here": "another address of this server. Following it would lose the prompt",
        "plain": "an address without encryption. It is not followed",
        "elsewhere": "another server. It is not followed, as the prompts and the key would go there",
    }[_moves_to(response, target)]
    base, found, _ = target.partition("?")[0].rstrip("/").rpartition(path)
    is_new = found and base != str(response.url).removesuffix(path)
    advice = f"To use it, give --model-option base_url={base}" if is_new else "Check base_url"
    return f"{told} to {target}, {moved}. {advice}"


async def _read(response: httpx2.Response) -> httpx2.Response:
    """The answer with its content, unpacked a piece at a time and no further than a reply can be long.

    Raises:
        TooLarge: It is a completion that is longer.
    """
    limit = _LARGEST_ANSWER if response.is_success else _LARGEST_ERROR
    content = bytearray()
    async for piece in response.aiter_bytes():  # at most 1 MB at a time
        content += piece
        if len(content) > limit:
            if response.is_success:
                raise TooLarge
            break
    # Of the headers only these: the content is unpacked already, and JSON is UTF-8, whatever a server says.
    kept = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    return httpx2.Response(response.status_code, headers=kept, content=bytes(content[:limit]), request=response.request)
