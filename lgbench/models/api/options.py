"""What can be set of a model behind a server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

OPENAI_URL = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
_OPENAI_HOST = "api.openai.com"
MAY_CHANGE = frozenset({"key_env", "concurrency", "retries", "timeout", "refused", "price_in", "price_out"})
"""Options that a run which failed may go on with other values of: they make no reply another one, or it says so."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The model options of `api:`, as text that `--model-option` gives.

    Attributes:
        base_url: Where the server's endpoints begin; it usually ends in `/v1`.
        endpoint: `chat` for chat completions, `completions` for plain ones.
        key_env: The environment variable that holds the server's key. Without it OpenAI's own servers get
            `OPENAI_API_KEY`, and others no key.
        concurrency: The most requests under way at once.
        retries: How often a request that failed is sent again.
        timeout: Seconds to wait for one reply, from sending the request to the end of the answer.
        refused: What to do where a content filter, or the like, refuses a prompt: `stop` the run, or take it as an
            `empty` reply, which is wrong.
        price_in: What a million tokens read cost, in any currency.
        price_out: What a million tokens written cost.
        style: `raw` or `instruct`; `instruct` for chat if not given.
        template: The text of style `raw`, with `{prompt}` and, where wanted, `{task}` in it.
        shots: The worked examples of style `instruct`.
    """

    base_url: str = OPENAI_URL
    endpoint: Literal["chat", "completions"] = "chat"
    key_env: str | None = None
    concurrency: int = 16
    retries: int = 8
    timeout: float = 120.0
    refused: Literal["stop", "empty"] = "stop"
    price_in: float | None = None
    price_out: float | None = None
    style: Literal["raw", "instruct"] | None = None
    template: str | None = None
    shots: int | None = None

    @property
    def is_openai(self) -> bool:
        """Whether the server is OpenAI's, reached so that nobody can listen."""
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        is_host = host == _OPENAI_HOST or host.endswith(f".{_OPENAI_HOST}")  # those of a region, such as eu.
        return parts.scheme == "https" and is_host and parts.port in (None, 443)

    @property
    def is_exposed(self) -> bool:
        """Whether requests travel over a network without encryption."""
        parts = urlsplit(self.base_url)
        host = parts.hostname or ""
        if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
            return False
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:  # a name
            return True
