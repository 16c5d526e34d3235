"""Errors that every further request would meet too: what to say of them, and what to change."""

from __future__ import annotations

from collections.abc import Container
from typing import NamedTuple

from lgbench.models.api.options import OPENAI_KEY, Options
from lgbench.models.api.words import Said

BUSY = (408, 409, 425, 429)
"""Statuses that may pass."""
OF_THE_PROMPT = (400, 413, 422)
"""Statuses by which a server may refuse one prompt and answer others: a content filter, a short context."""


class Fatal(NamedTuple):
    """What a server did, to follow its address, and what the user can change; empty for `key_hint`."""

    what: str
    advice: str = ""
    shows_status: bool = True


_QUOTA = Fatal("says that the quota is used up", "Add credit, then resume the run", shows_status=False)
_KEY = Fatal("refused the key")
_FORBIDDEN = Fatal("forbids this, to this key or from this place")
_MODEL = Fatal("knows no such model or address", "Check MODEL and base_url")
_STOP = Fatal("refused the request", "It takes no stop text: give --model-option endpoint=chat, or style=raw")
_TEMPERATURE = Fatal(
    "refused the request",
    "At another temperature than 0 replies are drawn at random, so such a model cannot be evaluated",
)
_OTHER = Fatal("refused the request", "Check base_url and the model options")


def fatal_for(status: int | None, said: Said, sent: Container[str]) -> Fatal | None:
    """What is wrong with every request; None where another time or another prompt may help.

    Args:
        status: Of the answer; None where it says that all is well, and the answer does not.
        said: The server's words.
        sent: The fields of the request.
    """
    # In words, a server that limits the rate may say "quota" too.
    if status == 402 or said.is_about("quota", by_code=status in BUSY):
        return _QUOTA
    if status in BUSY or (status is not None and not 400 <= status < 500):
        return None
    rules = (
        (status == 401, _KEY),
        (status == 403, _FORBIDDEN),
        (said.is_about("key"), _KEY),
        (said.is_about("stop") and "stop" in sent, _STOP),
        (said.is_about("temperature"), _TEMPERATURE),
        (status == 404 or said.is_about("model"), _MODEL),
        (status is not None and status not in OF_THE_PROMPT, _OTHER),
    )
    return next((fatal for applies, fatal in rules if applies), None)


def key_hint(options: Options, *, sends_key: bool) -> str:
    """What to do if the server refuses the key, or the want of one."""
    if sends_key:
        return f"Check the environment variable {options.key_env or OPENAI_KEY}"
    return (
        f"No key was sent: {OPENAI_KEY} is for OpenAI's servers only. "
        "Name the variable that holds the key of this server with --model-option key_env=NAME"
    )
