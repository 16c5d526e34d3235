"""One request to an OpenAI-compatible server: sent again while that may help, with errors that say what to change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import re
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import openai

from lgbench.errors import LgbenchError
from lgbench.models.api.answers import Completion, Unusable, code_of, parse_completion, retry_after, said_by
from lgbench.models.contract import Tokens

_log = logging.getLogger(__name__)
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 60.0
_WORTH_TELLING = 10.0
_LONGEST_WAIT = 900.0  # a server that asks for more is better resumed later
_RETRIES_BEFORE_FIRST_SUCCESS = 2  # a wrong URL should not take minutes to be told
_QUOTA_CODES = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "credit_limit_reached")
_SHORTEST_KEY = 8  # characters of a key that is a secret
_BUSY = (408, 409, 425, 429)
_OF_THE_PROMPT = (400, 413, 422)  # a content filter, a context that is too short
_HARMLESS, _HARMLESS_CAP = "1+1=", 16  # a context holds prompt and cap


class _Refused(Exception):  # noqa: N818  # what comes of it is for the options to say
    """A request that the server will not answer for what it asks, though it may answer others."""

    def __init__(self, reason: str, tokens: Tokens) -> None:
        super().__init__(reason)
        self.tokens = tokens


class _OtherNameWanted(Exception):  # noqa: N818  # sent again at once
    """The server calls the cap on tokens `max_completion_tokens`."""


class Endpoint:
    """A path of a server.

    Args:
        client: The client of the `openai` package; it must not retry by itself.
        path: `/chat/completions` or `/completions`.
        retries: How often a request is sent again.
        secret: The key; it is cut out of every message.
        key_env: The environment variable that holds it.
        passes_over: Whether a prompt that is refused is left with an empty reply, as long as others are answered.
    """

    def __init__(
        self, client: Any, path: str, *, retries: int, secret: str, key_env: str, passes_over: bool = False
    ) -> None:
        self._client = client
        self._key_env = key_env
        self._path = path
        self._retries = retries
        self._secret = secret
        self._passes_over = passes_over
        self._told_of_refusals = False
        self._succeeded = False
        self._quiet_until = 0.0
        self._told_until = 0.0
        self._cap_field = "max_tokens"

    async def complete(self, body: dict[str, Any], *, cap: int, about: str, over: asyncio.Event) -> Completion:
        """Send a request until it is answered, or refused for the prompt's sake.

        Args:
            body: What to send.
            cap: The most tokens to write.
            about: What it asks, for a refusal.
            over: Once it is set, nobody waits any more to send.

        Raises:
            LgbenchError: It was refused for good, failed too often, or is no longer wanted.
        """
        try:
            return await self._answered(body, cap, over)
        except _Refused as refused:
            refusal, tokens = f"{refused}. It asked for {about}", refused.tokens
        if not self._passes_over:
            how = "If it refuses only some prompts, run it with --model-option refused=empty, and --resume"
            if "temperature" in refusal:
                how = "At another temperature than 0 replies are drawn at random, so such a model cannot be evaluated"
            raise self._error(f"{refusal}. {how}")
        # A server in trouble may refuse everything, and an empty reply that is stored stays.
        try:
            harmless = await self._answered(body | _harmless(body), _HARMLESS_CAP, over)
        except _Refused:
            raise self._error(f"{refusal}. It refused a harmless text too") from None
        if not self._told_of_refusals:
            self._told_of_refusals = True
            _log.warning("The server %s. The reply is left empty, as others like it will be.", self._cleaned(refusal))
        return Completion("", capped=False, tokens=tokens.plus(harmless.tokens), refused=True)

    async def _answered(self, body: dict[str, Any], cap: int, over: asyncio.Event) -> Completion:
        """Send a request until it is answered.

        Raises:
            _Refused: It was refused for what it asks.
            LgbenchError: It was refused for good, failed too often, or is no longer wanted.
        """
        attempt = 0
        while True:
            if (quiet := self._quiet_until - time.monotonic()) > 0:
                await self._rest(quiet, over)
            try:
                return await self._once(body | {self._cap_field: cap})
            except _OtherNameWanted:
                self._cap_field = "max_completion_tokens"
            except Unusable as failure:
                await self._wait(failure, attempt, over)
                attempt += 1

    async def _wait(self, failure: Unusable, attempt: int, over: asyncio.Event) -> None:
        known = self._succeeded or failure.overload
        if attempt >= (self._retries if known else min(self._retries, _RETRIES_BEFORE_FIRST_SUCCESS)):
            hint = f". {failure.hint}" if failure.hint and not self._succeeded else ""
            raise self._error(f"{failure} (after {attempt + 1} tries){hint}") from None
        # Jitter, so that requests that failed together do not come back together.
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2**attempt) * random.uniform(0.75, 1.25)
        if failure.wait:  # one of 0 s, or until a date in the past, would use up all tries at once
            delay = failure.wait
        if delay > _LONGEST_WAIT:
            raise self._error(f"{failure}, and asks to wait {delay:.0f} s. Resume the run then")
        until = time.monotonic() + delay
        if failure.overload:
            self._quiet_until = max(self._quiet_until, until)
        if delay >= _WORTH_TELLING and until > self._told_until + 1:
            self._told_until = until + delay  # until this wait is over, no other that is as long is told
            _log.warning("%s %s; the next try is in %.0f s.", self._client.base_url, self._cleaned(str(failure)), delay)
        await self._rest(delay, over)

    async def _rest(self, seconds: float, over: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), seconds)
        if over.is_set():
            raise self._error("was not asked again: another request failed for good")

    async def _once(self, body: dict[str, Any]) -> Completion:
        try:
            raw = await self._client.post(self._path, body=body, cast_to=str)
        except openai.APIStatusError as error:
            self._check_worth_it(error, body)
            if 300 <= error.status_code < 500 and error.status_code not in _BUSY:
                refusal = f"refused the request (status {error.status_code}){said_by(error)}"
                if error.status_code not in _OF_THE_PROMPT:
                    raise self._error(refusal) from None
                raise _Refused(refusal, Tokens()) from None
            raise Unusable(
                f"answered with status {error.status_code}{said_by(error)}",
                wait=retry_after(error.response.headers),
                overload=error.status_code in _BUSY or error.status_code == 503,
            ) from None
        # What is not HTTP reaches us as aiohttp's own error.
        except (openai.APIConnectionError, openai.APIResponseValidationError, aiohttp.ClientError) as error:
            cause = _first_cause(error)
            if isinstance(cause, TimeoutError):
                raise Unusable("did not answer in time (see --model-option timeout=SECONDS)") from None
            reason = " ".join(str(cause).removeprefix("400, message:").split())  # 400 is aiohttp's, no server's
            raise Unusable(
                f"could not be reached or broke off: {reason.rstrip('.')}", hint="Check that it runs, and base_url"
            ) from None
        completion = parse_completion(raw)
        self._succeeded = True
        if completion.refused:
            raise _Refused("filtered the reply", completion.tokens)
        if len(self._secret) >= _SHORTEST_KEY and self._secret in completion.text:
            raise self._error("wrote the key into its reply, which is not kept. Do not trust this server")
        return completion

    def _check_worth_it(self, error: openai.APIStatusError, body: Mapping[str, Any]) -> None:
        """Raise for a status that would meet every other request too, and where other words may help."""
        status, said = error.status_code, said_by(error)
        # Other requests that were sent under the old name meanwhile come back here too.
        if status == 400 and "max_tokens" in body and "max_completion_tokens" in said:
            raise _OtherNameWanted
        if status in (401, 403):
            hint = f"Check the environment variable {self._key_env}" if self._secret else f"{self._key_env} is not set"
            refused = "refused the key" if status == 401 else "forbids this, to this key or from this place"
            raise self._error(f"{refused} (status {status}){said}. {hint}")
        if status == 402 or code_of(error) in _QUOTA_CODES:
            raise self._error(f"says that the quota is used up{said}. Add credit, then resume the run")
        if status == 404:
            raise self._error(f"knows no such model or address (status 404){said}. Check MODEL and base_url")

    def _error(self, what: str) -> LgbenchError:
        return LgbenchError(self._cleaned(f"{self._client.base_url} {what}."))

    def _cleaned(self, text: str) -> str:
        if len(self._secret) >= _SHORTEST_KEY:
            return text.replace(self._secret, "***")
        # A placeholder such as "x". Within words it would be cut out of our own.
        return re.sub(rf"(?<!\w){re.escape(self._secret)}(?!\w)", "***", text) if self._secret else text


def _harmless(body: Mapping[str, Any]) -> dict[str, Any]:
    """What to put into a request so that no server should mind it."""
    return {"messages": [{"role": "user", "content": _HARMLESS}]} if "messages" in body else {"prompt": _HARMLESS}


def _first_cause(error: BaseException) -> BaseException:
    """What an error was raised from: the client reports a connection that broke off as a timeout."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
