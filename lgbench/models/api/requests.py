"""One request to an OpenAI-compatible server: sent again while that may help, with errors that say what to change."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Mapping
from typing import Any

import aiohttp
import openai

from lgbench.models.api.answers import Completion, ErrorInside, NoCompletion, Unusable, parse_completion, retry_after
from lgbench.models.api.keys import Secrets
from lgbench.models.api.options import Options
from lgbench.models.api.remedies import BUSY, OF_THE_PROMPT, fatal_for, key_hint
from lgbench.models.api.transport import TooLarge, redirect_advice
from lgbench.models.api.words import Said, said_in
from lgbench.models.contract import Tokens
from lgbench.util.errors import LgbenchError
from lgbench.util.text import plain

_log = logging.getLogger(__name__)
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 60.0
_WORTH_TELLING = 10.0
_LONGEST_WAIT = 900.0  # a server that asks for more is better resumed later
_FEW_RETRIES = 2  # a wrong URL should not take minutes to be told, nor should one prompt be paid for again and again
_LONGEST_READ, _LONGEST_QUOTE = 10_000, 300  # characters of the server's words
_HARMLESS, _HARMLESS_CAP = "1+1=", 16  # a context holds prompt and cap
_CHECK_RUNNING = "Check that it runs, and base_url"


class _Refused(Exception):  # noqa: N818  # what comes of it is for the options to say
    """A request that the server will not answer for what it asks, though it may answer others."""

    def __init__(self, reason: str, tokens: Tokens) -> None:
        super().__init__(reason)
        self.tokens = tokens


class _OtherNameWanted(Exception):  # noqa: N818  # sent again at once
    """The server calls the cap on tokens `max_completion_tokens`."""


class Endpoint:
    """Where a server is asked.

    Args:
        client: The client of the `openai` package; it must not retry by itself.
        options: Which path of the server to ask, how often, and whether a prompt that is refused is left with an empty
            reply, as long as others are answered.
        sends_key: Whether the client sends a key.
        secrets: What is cut out of every message.
    """

    def __init__(self, client: Any, options: Options, *, sends_key: bool, secrets: Secrets) -> None:
        self._client = client
        self._path = "/chat/completions" if options.endpoint == "chat" else "/completions"
        self._retries = options.retries
        self._passes_over = options.refused == "empty"
        self._secrets = secrets
        self._key_hint = key_hint(options, sends_key=sends_key)
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
            raise self._error(f"{refusal}. {how}")
        # A server in trouble may refuse everything, and an empty reply that is stored stays.
        try:
            harmless = await self._answered(body | _harmless(body), _HARMLESS_CAP, over)
        except _Refused:
            raise self._error(f"{refusal}. It refused a harmless text too") from None
        if not self._told_of_refusals:
            self._told_of_refusals = True
            _log.warning(
                "The server %s. The reply is left empty, as others like it will be.", self._secrets.cleaned(refusal)
            )
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
        few = failure.paid or not (self._succeeded or failure.overload)
        if attempt >= (min(self._retries, _FEW_RETRIES) if few else self._retries):
            hint = f". {failure.hint}" if failure.hint and not self._succeeded else ""
            told = f"{failure} (after {attempt + 1} {'tries' if attempt else 'try'}){hint}"
            if failure.paid and self._succeeded:  # to others it gives completions
                raise _Refused(told, Tokens()) from None
            raise self._error(told) from None
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
            _log.warning(
                "%s %s; the next try is in %.0f s.", self._client.base_url, self._secrets.cleaned(str(failure)), delay
            )
        await self._rest(delay, over)

    async def _rest(self, seconds: float, over: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), seconds)
        if over.is_set():
            raise self._error("was not asked again: another request failed for good")

    async def _once(self, body: dict[str, Any]) -> Completion:
        completion = await self._posted(body)
        self._succeeded = True
        if completion.refused:
            raise _Refused("filtered the reply", completion.tokens)
        if completion.text in self._secrets:
            raise self._error("wrote the key into its reply, which is not kept. Do not trust this server")
        return completion

    async def _posted(self, body: dict[str, Any]) -> Completion:
        """Send a request once and read the answer."""
        raw = ""
        try:
            raw = await self._client.post(self._path, body=body, cast_to=str)
            return parse_completion(raw)
        except openai.APIStatusError as error:
            answer = error.response
            if 300 <= answer.status_code < 400:
                raise self._error(plain(self._secrets.cleaned(redirect_advice(answer, self._path)))) from None
            raise self._failure(answer.status_code, said_in(answer.text), body, answer.headers) from None
        except ErrorInside as error:
            raise self._failure(error.status, error.said, body, {}) from None
        except NoCompletion:
            raise self._no_completion(raw) from None
        except TooLarge as error:
            raise Unusable(str(error), paid=True) from None
        # What is not HTTP reaches us as aiohttp's own error.
        except (
            openai.APIConnectionError,
            openai.APIResponseValidationError,
            aiohttp.ClientError,
            TimeoutError,
        ) as error:
            cause = _first_cause(error)
            if isinstance(error, TimeoutError) or isinstance(cause, TimeoutError):
                raise Unusable("did not answer in time (see --model-option timeout=SECONDS)") from None
            reason = self._quoted(str(cause).removeprefix("400, message:"))  # 400 is aiohttp's, no server's
            raise Unusable(f"could not be reached or broke off: {reason}", hint=_CHECK_RUNNING) from None

    def _no_completion(self, raw: str) -> Unusable:
        if raw.lstrip()[:1] == "<":
            page = self._quoted(said_in(raw[:_LONGEST_READ]).words)
            hint = f"Check base_url, which usually ends in /v1. The page says: {page}"
            return Unusable("answered with HTML, not JSON", hint=hint)
        shown = repr(self._secrets.cleaned(raw[:_LONGEST_READ])[:100]) if raw else "nothing"
        told = f"answered with {shown}, which is no OpenAI completion"
        streams = raw.startswith(("data:", "event:"))
        hint = "It streams its answer, though that was not asked for" if streams else "Check base_url"
        return Unusable(told, paid=bool(raw.strip()), hint=hint)

    def _failure(
        self, status: int | None, said: Said, body: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Exception:
        """What an error means: that another word, another time, or only a change by the user would help.

        Args:
            status: Of the answer; None where it says that all is well, and the answer does not.
            said: The server's words.
            body: What was sent.
            headers: Of the answer.
        """
        words = f": {self._quoted(said.words)}" if said.words else ""
        shown = f" (status {status}){words}" if status else words
        if status not in (*BUSY, 401, 402):
            # Other requests that were sent under the old name meanwhile come back here too.
            if said.is_about("cap_name") and "max_tokens" in body:
                return _OtherNameWanted()
            if said.is_about("context"):
                return _Refused(f"refused the request{shown}. Its context is too short for prompt and reply", Tokens())
        if fatal := fatal_for(status, said, body):
            told = shown if fatal.shows_status else words
            return self._error(f"{fatal.what}{told}. {fatal.advice or self._key_hint}")
        if status in OF_THE_PROMPT:
            return _Refused(f"refused the request{shown}", Tokens())
        answered = f"answered with status {status}{words}" if status else f"answered with an error{words}"
        return Unusable(answered, wait=retry_after(headers), overload=status in BUSY or status == 503)

    def _quoted(self, words: str) -> str:
        """A stranger's words, cleaned of keys before they are cut."""
        return plain(" ".join(self._secrets.cleaned(words).split()), limit=_LONGEST_QUOTE).rstrip(".")

    def _error(self, what: str) -> LgbenchError:
        return LgbenchError(self._secrets.cleaned(f"{self._client.base_url} {what}."))


def _harmless(body: Mapping[str, Any]) -> dict[str, Any]:
    """What to put into a request so that no server should mind it."""
    return {"messages": [{"role": "user", "content": _HARMLESS}]} if "messages" in body else {"prompt": _HARMLESS}


def _first_cause(error: BaseException) -> BaseException:
    """What an error was raised from: the client reports a connection that broke off as a timeout."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
