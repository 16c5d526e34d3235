"""A model behind an OpenAI-compatible server as a predictor."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import openai

from lgbench.data.suites import Suite, load_suite
from lgbench.models.api.answers import Completion
from lgbench.models.api.conversation import Conversation
from lgbench.models.api.requests import Endpoint
from lgbench.models.api.transport import Transport
from lgbench.models.contract import CappedReply, PipelinedPredictor, Question, RefusedReply, Tokens
from lgbench.models.prompting import CLOSE_TAG, OPEN_TAG, extract_reply, generation_cap, question, warn_of_confusion
from lgbench.results.schema import PromptStyle

if TYPE_CHECKING:
    from lgbench.models.api.keys import Secrets
    from lgbench.models.api.options import Options


class ApiPredictor(PipelinedPredictor):
    """Sends each prompt as a request of its own, several at once, and hands replies on as they arrive.

    Requests run in an event loop in a thread of its own, so that connections outlive one call.

    Args:
        model: The model's name on the server.
        options: How to reach it.
        style: How to ask.
        key: The key; empty for servers that need none.
        secrets: What must not be shown or stored.
    """

    one_by_one = False  # every request is one prompt; how the server batches them is not ours to vary

    def __init__(self, model: str, options: Options, style: PromptStyle, *, key: str, secrets: Secrets) -> None:
        self._model = model
        self._style = style
        self._concurrency = options.concurrency
        self._suite = load_suite("mini-v1")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="lgbench-api")
        self._thread.start()
        self._conversation: Conversation | None = None
        self._client = openai.AsyncOpenAI(
            api_key=key or "none",
            base_url=options.base_url,
            timeout=None,  # the transport has its own
            max_retries=0,
            http_client=Transport(
                key=key, timeout=options.timeout, connections=options.concurrency, is_openai=options.is_openai
            ),
        )
        self._endpoint = Endpoint(self._client, options, sends_key=bool(key), secrets=secrets)
        self.tokens = Tokens()
        if options.price_in is not None and options.price_out is not None:
            self.prices = (options.price_in, options.price_out)
        atexit.register(self.close)
        self.device = f"served at {options.base_url}"

    def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
        """Draw worked examples from this suite from now on, and warn of tasks that look alike."""
        self._suite = suite
        warn_of_confusion(self._style, suite, tasks)

    def stream(self, prompts: Sequence[str], task: str) -> Iterator[Mapping[int, str]]:
        """Reply to prompts of one task, in the order in which the server answers.

        Raises:
            LgbenchError: The server refused, or failed too often. Replies under way were waited for and handed on.
        """
        questions = (Question(prompt, task) for prompt in prompts)
        return self.converse(lambda: next(questions, None))

    def converse(
        self, following: Callable[[], Question | None], *, at_most: int | None = None
    ) -> Iterator[Mapping[int, str]]:
        """Reply to questions, in the order in which the server answers.

        Raises:
            LgbenchError: The server refused, or failed too often. Replies under way were waited for and handed on.
            KeyboardInterrupt: There was a Ctrl-C. Replies under way were waited for and handed on, or given up.
        """
        concurrency = min(self._concurrency, at_most or self._concurrency)
        self._conversation = conversation = Conversation(self._ask, concurrency, self._loop)
        asked = answered = 0
        with conversation.under_way():
            while True:
                # Some wait their turn, so that a request begins at once when another ends.
                if asked - answered <= 1.5 * concurrency and not conversation.over:
                    asked += conversation.put(following, first=asked, room=2 * concurrency - (asked - answered))
                if asked == answered or not (outcomes := conversation.arrived(answered)):
                    break
                answered += len(outcomes)
                if completions := {number: completion for number, completion in outcomes if completion is not None}:
                    yield {number: self._reply(completion) for number, completion in completions.items()}
        if conversation.failures:
            raise conversation.failures[0]

    def wind_down(self) -> None:
        """Begin no further question of the conversation that goes on; what is under way is still handed on."""
        if self._conversation is not None:
            self._conversation.end()

    async def _ask(self, asked: Question, over: asyncio.Event) -> Completion:
        text = question(self._style, self._suite, asked.prompt, asked.task)
        body: dict[str, Any] = {"model": self._model, "temperature": 0}
        if self._style.chat:
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = text
            if self._style.style == "instruct":
                body["stop"] = [CLOSE_TAG]
        about = f"{asked.task} of {asked.prompt[:60]!r}"
        return await self._endpoint.complete(body, cap=generation_cap(asked.prompt), about=about, over=over)

    def _reply(self, completion: Completion) -> str:
        self.tokens = self.tokens.plus(completion.tokens)
        if completion.refused:
            return RefusedReply()
        text = completion.text
        if self._style.style == "instruct" and not self._style.chat:
            # The stop ends the text and is left out of it; some servers know no stop, or leave it in.
            text, stop, _ = text.partition(CLOSE_TAG)
            if OPEN_TAG in text and (stop or not completion.capped):
                text += CLOSE_TAG
        reply = extract_reply(self._style, text)
        return CappedReply(reply) if completion.capped else reply

    def close(self) -> None:
        """Close the connections. Done by itself when the process ends."""
        atexit.unregister(self.close)
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
