"""What an OpenAI-compatible server answers: a completion, or why there is none."""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
from datetime import UTC, datetime
from typing import Any, NamedTuple

from lgbench.models.api.words import BYTE_ORDER_MARK, Said, said_by
from lgbench.models.contract import Tokens
from lgbench.results.schema import MAX_TOKENS

_CAPPED = frozenset({"length", "model_length", "max_tokens", "max_length", "max_new_tokens", "max_output_tokens",
                     "max_completion_tokens", "token_limit", "limit", "context_length_exceeded",
                     "model_context_window_exceeded"})  # fmt: skip
_FILTERED = frozenset({"content_filter", "safety", "prohibited_content", "blocklist", "recitation", "spii"})
_FAILED = frozenset({"error", "abort", "cancelled"})
_LONGEST_PAUSE = 1e9  # seconds; enough to say that it is absurd
_ERROR_KEYS = ("error", "errors", "detail", "message")


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
        paid: Whether there was an answer, if a useless one: it has probably been paid for.
        hint: What to check if the server has not answered yet.
    """

    def __init__(
        self, reason: str, *, wait: float | None = None, overload: bool = False, paid: bool = False, hint: str = ""
    ) -> None:
        super().__init__(reason)
        self.wait = wait
        self.overload = overload
        self.paid = paid
        self.hint = hint


class ErrorInside(Exception):  # noqa: N818  # handled as the status would be
    """An error in an answer whose status says that all is well.

    Args:
        said: The server's words.
        status: The status that it names inside; None where it names none.
    """

    def __init__(self, said: Said, status: int | None) -> None:
        super().__init__(said.words)
        self.said = said
        self.status = status


class NoCompletion(Exception):  # noqa: N818  # told by who knows the secrets that it may hold
    """An answer that is neither a completion nor an error."""


def parse_completion(raw: str) -> Completion:
    """Read the server's answer. One whose message has no text, such as reasoning alone, is an empty completion.

    Raises:
        ErrorInside: It is an error.
        NoCompletion: It is nothing that a server should answer.
        Unusable: The server says that it could not finish, or wrote something that is no text.
    """
    try:
        return _completion(json.loads(raw.removeprefix(BYTE_ORDER_MARK)))
    except (ValueError, RecursionError):  # no JSON, or JSON of a thousand levels
        raise NoCompletion from None


def _completion(record: Any) -> Completion:
    choices = record.get("choices") if isinstance(record, dict) else None
    if not isinstance(choices, list) or not choices:
        if isinstance(record, dict) and _is_error(record):
            raise _error_inside(record)
        raise NoCompletion
    choice = choices[0]
    if not isinstance(choice, dict) or not choice.keys() & {"message", "text", "finish_reason"}:
        raise NoCompletion
    reason = str(choice.get("finish_reason")).lower()
    if reason in _FAILED or choice.get("error"):
        raise _error_inside(choice)
    counted = record.get("usage")
    return Completion(
        _written(choice),
        capped=reason in _CAPPED,
        tokens=_counted(counted if isinstance(counted, dict) else {}),
        refused=reason in _FILTERED,
    )


def _is_error(record: dict[str, Any]) -> bool:
    """Whether an answer without choices tells of an error. A message may also be another protocol's reply."""
    return any(record.get(key) for key in _ERROR_KEYS if key != "message") or isinstance(record.get("message"), str)


def _error_inside(record: dict[str, Any]) -> ErrorInside:
    error = {key: record[key] for key in (*_ERROR_KEYS, "code", "type") if key in record and record.get(key)}
    inner = error.get("error")
    codes = [code for each in (inner, error) if isinstance(each, dict) and isinstance(code := each.get("code"), int)]
    status = next((code for code in codes if 400 <= code < 600), None)
    return ErrorInside(said_by({"error": inner} if inner else error), status)


def _written(choice: dict[str, Any]) -> str:
    """The text of a choice: its content, or the words in which the model refuses; empty where it wrote neither."""
    message = choice.get("message")
    if not isinstance(message, dict):
        return _text(choice.get("text"))
    return _text(message.get("content")) or _text(message.get("refusal"))


def _text(content: Any) -> str:
    """A text, which may come in parts; parts that are no text, such as reasoning, are left out.

    Raises:
        Unusable: It is no text.
    """
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "".join(_text(part) for part in content)
    if isinstance(content, dict):
        kind = content.get("type", "text")
        key = "refusal" if kind == "refusal" else "text"
        if kind not in ("text", "output_text", "refusal"):
            return ""
        if key in content:
            return _text(content[key])
    raise Unusable(f"wrote {type(content).__name__} where a text should be", paid=True)


def _counted(usage: dict[str, Any]) -> Tokens:
    return Tokens(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def _count(said: Any) -> int:
    """A number of tokens as a server says it, in the range of a count: a server may be wrong about more than text."""
    try:
        return min(max(int(said or 0), 0), MAX_TOKENS)
    except (ValueError, TypeError, OverflowError):  # the reply is good, and paid for
        return MAX_TOKENS if said == math.inf else 0


def retry_after(headers: Any) -> float | None:
    """Seconds to wait, from a number or a date in the headers; None where they say none that makes sense."""
    value = headers.get("retry-after", "")
    with contextlib.suppress(ValueError):
        return min(max(0.0, float(value)), _LONGEST_PAUSE) if math.isfinite(float(value)) else None
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:  # no zone, or "-0000", which means that none is told
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
