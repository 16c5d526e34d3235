"""MODEL `api:NAME`: a model behind a server that speaks the OpenAI protocol.

Importing this package loads no client; `load` does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from urllib.parse import urlsplit

from lgbench.models.api.keys import Secrets
from lgbench.models.api.options import MAY_CHANGE, OPENAI_KEY, Options
from lgbench.models.loaded import Model
from lgbench.models.prompting import prompt_style
from lgbench.results.schema import SystemInfo
from lgbench.util.errors import LgbenchError
from lgbench.util.extras import require_extra

_log = logging.getLogger(__name__)
_SECRET = (OPENAI_KEY, "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")


def refuse_keys(given: Mapping[str, str]) -> None:
    """Refuse model options that seem to hold a key: options are recorded.

    Raises:
        LgbenchError: There is one.
    """
    if keys := [option for option in given if "key" in option.lower() and option != "key_env"]:
        raise LgbenchError(
            f"The model option {keys[0]!r} is refused: options are written into the result. The key is read from the "
            "environment variable OPENAI_API_KEY, or from the one that --model-option key_env=NAME names."
        )


def load(name: str, rest: str, options: Options) -> Model:
    """Make the predictor of `api:NAME`. Nothing is sent yet.

    Raises:
        LgbenchError: The extra or the key is missing, or an option does not fit.
    """
    _check(options)
    key = _key(options)
    secrets = Secrets([key, *(os.environ.get(each, "").strip() for each in _SECRET)])
    texts = {"MODEL": rest} | {option: str(value) for option, value in asdict(options).items()}
    if held := next((each for each, text in texts.items() if text in secrets), None):
        raise LgbenchError(f"{held} holds a key, or a part of one. It is refused, as it is written into the result.")
    if options.is_exposed:
        read = "the prompts and the key" if key else "the prompts"
        _log.warning("%s is not encrypted: %s can be read on the way.", options.base_url, read)
    require_extra("api", purpose=f"MODEL {name!r}")

    from lgbench.models.api.predictor import ApiPredictor

    chat = options.endpoint == "chat"
    style = prompt_style(options.style, chat=chat, has_chat=chat, template=options.template, shots=options.shots)
    system = SystemInfo(model=name, kind="api", prompt=style)
    return Model(ApiPredictor(rest, options, style, key=key, secrets=secrets), system, may_change=MAY_CHANGE)


def _check(options: Options) -> None:
    try:
        parts = urlsplit(options.base_url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not closed, a port beyond 65535
        is_url = False
    if not is_url:
        raise LgbenchError(f"base_url={options.base_url!r} is not a URL. An example: http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise LgbenchError("base_url must hold no user, password or query: it is written into the result.")
    for name, value, least in (("concurrency", options.concurrency, 1), ("retries", options.retries, 0)):
        if value < least:
            raise LgbenchError(f"{name}={value} is out of range. Give {least} or more.")
    if not 0 < options.timeout < float("inf"):
        raise LgbenchError(f"timeout={options.timeout} is out of range. Give a number of seconds above 0.")
    prices = (options.price_in, options.price_out)
    if (prices[0] is None) != (prices[1] is None):
        raise LgbenchError("price_in and price_out go together: the cost of a million tokens read, and written.")
    if any(price is not None and not 0 <= price < float("inf") for price in prices):
        raise LgbenchError(f"price_in={prices[0]}, price_out={prices[1]}: a price is a number from 0 on.")


def _key(options: Options) -> str:
    """The key from the environment; empty for a server that is not OpenAI's where no variable is named."""
    if options.key_env is None and not options.is_openai:
        return ""
    name = options.key_env or OPENAI_KEY
    key = os.environ.get(name, "").strip()
    if not key:
        raise LgbenchError(
            f"The environment variable {name} is not set. Set it to your key, or name another with "
            "--model-option key_env=NAME; for a server of your own, give --model-option base_url=http://..."
        )
    if odd := next((sign for sign in key if not (sign.isascii() and sign.isprintable())), None):
        raise LgbenchError(f"The environment variable {name} holds {odd!r}, which is in no key. Set it again.")
    return key
