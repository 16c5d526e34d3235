"""What a server says of an error: its own words, whichever form they have, and what they are about."""

from __future__ import annotations

import html
import json
import re
from typing import Any, Literal, NamedTuple

BYTE_ORDER_MARK = "\ufeff"
"""What some servers begin their JSON with."""
About = Literal["cap_name", "context", "temperature", "key", "quota", "stop", "model"]

_TEXT_KEYS = ("message", "detail", "details", "msg", "error", "errors", "error_message", "error_description",
              "description", "reason", "title")  # fmt: skip
_CODE_KEYS = ("code", "type", "error_type")
_DEEPEST = 6
_MOST_TEXTS = 3
_SIGNS: dict[About, str] = {
    "cap_name": r"max_completion_tokens|{unknown}.{{0,40}}\bmax_tokens\b|\bmax_tokens\b.{{0,40}}{refused}",
    "context": (
        r"context[_ ](?:length|window|size|limit)|maximum (?:context|model|sequence|input) length|max_model_len"
        r"|(?:prompt|inputs?|text|messages?|request|sequence) (?:is|are|was|were) too (?:long|large)"
        r"|too many (?:input |prompt )?tokens|reduce the length|(?:must|should) have (?:less|fewer) than \d+ tokens"
        r"|tokens? .{{0,40}}(?:exceeds?|must be ?<=|(?:larger|greater|more) than) .{{0,40}}(?:limit|max)"
    ),
    "temperature": (
        r"temperature.{{0,80}}(?:{refused}|must|should|only|default|range|between|positive|invalid)"
        r"|(?:{unknown}|invalid|unsupported|not support).{{0,60}}temperature"
    ),
    "key": (
        r"(?:invalid|incorrect|wrong|missing|expired|no|valid) (?:api|access|auth\w*)[ _-]?(?:key|token)"
        r"|(?:api|access)[ _-]?(?:key|token) (?:is |was |has )?(?:not |been )?(?:(?:in)?valid|missing|required|expired)"
    ),
    "quota": (
        r"insufficient[_ ](?:quota|credits?|balance|funds)|billing_hard_limit_reached|billing_not_active"
        r"|credit_limit_reached|credit balance is too low"
    ),
    "stop": r"{unknown}.{{0,40}}\bstop\b|\bstop\b.{{0,40}}{refused}",
    "model": (
        r"model_not_found|(?:no such|unknown|invalid) model"
        r"|\bmodel\b.{{0,100}}?(?:not found|not exist|n't exist|is unknown|not available)"
    ),
}
_UNKNOWN = (
    r"(?:un|not )(?:supported|known|expected|recogni[sz]ed|permitted)[\w ]*(?:param|field|arg|key|propert|input|:)"
)
_REFUSED = r"(?:not supported|unsupported|not permitted|deprecated|unknown|unexpected|unrecogni[sz]ed|extra|additional)"
_PATTERNS = {
    about: re.compile(pattern.format(unknown=_UNKNOWN, refused=_REFUSED), re.IGNORECASE)
    for about, pattern in _SIGNS.items()
}


class Said(NamedTuple):
    """What a server said of an error.

    Attributes:
        words: Its own words in one line; empty where it gave none.
        codes: Its codes and types of the error.
    """

    words: str = ""
    codes: tuple[str, ...] = ()

    def is_about(self, about: About, *, by_code: bool = False) -> bool:
        """Whether the words or codes, or the codes alone, show that the error is about this."""
        texts = self.codes if by_code else (self.words, *self.codes)
        return any(_PATTERNS[about].search(text[:2000]) for text in texts)  # of more they would be slow


def said_in(body: str) -> Said:
    """Read the body of an error: JSON of any form, HTML, or plain text."""
    try:
        content = json.loads(body.removeprefix(BYTE_ORDER_MARK))
    except (ValueError, RecursionError):
        return Said(_one_line(_without_tags(body) if body.lstrip()[:1] == "<" else body))
    return said_by(content)


def said_by(content: Any) -> Said:
    """The same for what the body holds as JSON."""
    codes = tuple(dict.fromkeys(_codes(content)))
    texts = list(dict.fromkeys(_texts(content)))[:_MOST_TEXTS]
    if not texts and content:
        texts = list(codes) or [json.dumps(content)]
    return Said(_one_line("; ".join(text.strip().rstrip(".") for text in texts)), codes)


def _texts(content: Any, depth: int = 0) -> list[str]:
    """The texts for people in an error, those that say most first."""
    if isinstance(content, str):
        return [content] if content.strip() else []
    if depth == _DEEPEST:
        return []
    if isinstance(content, list):
        return [text for each in content[:_MOST_TEXTS] for text in _texts(each, depth + 1)]
    if not isinstance(content, dict):
        return []
    named = {str(key).lower(): value for key, value in content.items()}
    found = [text for key in _TEXT_KEYS for text in _texts(named.get(key), depth + 1)]
    if found and isinstance(place := named.get("loc"), list):  # as FastAPI says it
        found[0] = f"{'.'.join(str(each) for each in place if each != 'body')}: {found[0]}"
    return found


def _codes(content: Any, depth: int = 0) -> list[str]:
    if isinstance(content, list):
        return [code for each in content[:_MOST_TEXTS] for code in _codes(each, depth + 1)] if depth < _DEEPEST else []
    if not isinstance(content, dict) or depth == _DEEPEST:
        return []
    own = [code for key in _CODE_KEYS if isinstance(code := content.get(key), str) and code]
    return own + [code for key in ("error", "errors", "detail") for code in _codes(content.get(key), depth + 1)]


def _without_tags(page: str) -> str:
    """The title of a page, or its text where it has none."""
    lower = page.lower()
    start = lower.find("<title")
    end = lower.find("</title", start)
    inside = page[start:end].partition(">")[2] if 0 <= start < end else ""
    return html.unescape(inside.strip() or re.sub(r"<[^<>]*>", " ", page))


def _one_line(text: str) -> str:
    return " ".join(text.split())
