"""What an OpenAI-compatible server answers: a completion, or why there is none."""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

import openai

from lgbench.models.contract import Tokens
from lgbench.results import MAX_TOKENS


class Completion(NamedTuple):
    """What the server wrote: text, whether the token cap ended it, the tokens it counted, and whether it refused."""

    text: str
    capped: bool
    tokens: Tokens
    refused: bool = False


class Unusable(Exception):  # noqa: N818  # not an error of ours: the reason to send a request again
    """A failure that may pass.

    Args:
        reason: What happened, in words.
        wait: Seconds that the server asked to wait.
        overload: Whether the server said that it is busy, so that it is there and other requests should wait too.
        hint: What to check if the server has not answered yet.
    """

    def __init__(self, reason: str, *, wait: float | None = None, overload: bool = False, hint: str = "") -> None:
        super().__init__(reason)
        self.wait = wait
        self.overload = overload
        self.hint = hint


def parse_completion(raw: str) -> Completion:
    """Read the server's answer.

    Raises:
        Unusable: It is no completion.
    """
    if raw.lstrip()[:1] == "<":
        raise Unusable("answered with HTML, not JSON", hint="Check base_url, which usually ends in /v1")
    try:
        record = json.loads(raw)
        if "error" in record and "choices" not in record:
            raise Unusable(f"answered with an error: {json.dumps(record['error'])[:300]}")
        choice = record["choices"][0]
        written = choice["message"]["content"] if "message" in choice else choice["text"]
        counted = record.get("usage") or {}
        tokens = Tokens(_count(counted.get("prompt_tokens")), _count(counted.get("completion_tokens")))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError, RecursionError):
        shown = repr(raw[:100]) if raw else "nothing"
        raise Unusable(f"answered with {shown}, which is no OpenAI completion", hint="Check base_url") from None
    if written is not None and not isinstance(written, str):
        raise Unusable(f"wrote {type(written).__name__} where a text should be")
    # A model that thought until the cap has written null.
    reason = choice.get("finish_reason")
    return Completion(written or "", reason == "length", tokens, refused=reason == "content_filter")


def _count(said: Any) -> int:
    """A number of tokens as a server says it, in the range of a count: a server may be wrong about more than text."""
    return min(max(int(said or 0), 0), MAX_TOKENS)


def said_by(error: openai.APIStatusError) -> str:
    """The server's own words, shortened, to follow ours; empty where there are none."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return f": {str(message)[:300].rstrip('.')}" if message else ""


def code_of(error: openai.APIStatusError) -> str:
    """The server's code or type of an error; empty where it gives none."""
    body = error.body
    return str(body.get("code") or body.get("type") or "") if isinstance(body, dict) else ""


def retry_after(headers: Any) -> float | None:
    """Seconds to wait, from a number or a date in the headers; None where they say none that makes sense."""
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return max(0.0, float(value)) if math.isfinite(float(value)) else None
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:  # no zone, or "-0000", which means that none is told
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
