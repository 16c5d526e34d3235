"""A model behind an OpenAI-compatible server as a predictor."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import openai

from lgbench.errors import LgbenchError
from lgbench.models.api.requests import Completion, Endpoint
from lgbench.models.contract import CappedReply, StreamingPredictor, Tokens
from lgbench.models.prompting import CLOSE_TAG, OPEN_TAG, extract_reply, generation_cap, question, warn_of_confusion
from lgbench.results import PromptStyle
from lgbench.suites import Suite, load_suite

if TYPE_CHECKING:
    from lgbench.models.api.options import Options


class ApiPredictor(StreamingPredictor):
    """Sends each prompt as a request of its own, several at once, and hands replies on as they arrive.

    Requests run in an event loop in a thread of its own, so that connections outlive one call.

    Args:
        model: The model's name on the server.
        options: How to reach it.
        style: How to ask.
        key: The key; empty for servers that need none.
    """

    one_by_one = False  # every request is one prompt; how the server batches them is not ours to vary

    def __init__(self, model: str, options: Options, style: PromptStyle, *, key: str) -> None:
        self._model = model
        self._style = style
        self._concurrency = options.concurrency
        self._suite = load_suite("mini-v1")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="lgbench-api")
        self._thread.start()
        self._client = openai.AsyncOpenAI(
            api_key=key or "none", base_url=options.base_url, timeout=options.timeout, max_retries=0
        )
        path = "/chat/completions" if options.endpoint == "chat" else "/completions"
        self._endpoint = Endpoint(self._client, path, retries=options.retries, secret=key)
        self.tokens = Tokens()
        if options.price_in is not None and options.price_out is not None:
            self.prices = (options.price_in, options.price_out)
        self.device = f"served at {options.base_url}"

    def prepare(self, suite: Suite, tasks: Sequence[str]) -> None:
        """Draw worked examples from this suite from now on, and warn of tasks that look alike."""
        self._suite = suite
        warn_of_confusion(self._style, suite, tasks)

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        """Reply to prompts of one task."""
        replies = {position: reply for part in self.stream(prompts, task) for position, reply in part.items()}
        return [replies[position] for position in range(len(prompts))]

    def stream(self, prompts: Sequence[str], task: str) -> Iterator[Mapping[int, str]]:
        """Reply to prompts of one task, in the order in which the server answers.

        Raises:
            LgbenchError: The server refused, or failed too often. Replies under way were waited for and handed on.
        """
        arrived: queue.SimpleQueue[tuple[int, Completion] | None] = queue.SimpleQueue()
        working = asyncio.run_coroutine_threadsafe(self._ask_all(prompts, task, arrived), self._loop)
        try:
            while ready := _next_items(arrived):
                yield {position: self._reply(completion) for position, completion in ready}
        except BaseException:
            working.cancel()
            raise
        working.result()

    async def _ask_all(
        self, prompts: Sequence[str], task: str, arrived: queue.SimpleQueue[tuple[int, Completion] | None]
    ) -> None:
        waiting = iter(enumerate(prompts))
        failures: list[LgbenchError] = []

        async def work() -> None:
            for position, prompt in waiting:
                try:
                    arrived.put((position, await self._ask(prompt, task)))
                except LgbenchError as failure:
                    failures.append(failure)
                if failures:  # what is under way has been paid for; nothing new is begun
                    return

        try:
            await asyncio.gather(*(work() for _ in range(min(self._concurrency, len(prompts)))))
        finally:
            arrived.put(None)
        if failures:
            raise failures[0]

    async def _ask(self, prompt: str, task: str) -> Completion:
        text = question(self._style, self._suite, prompt, task)
        body: dict[str, Any] = {"model": self._model, "temperature": 0}
        if self._style.chat:
            body["messages"] = [{"role": "user", "content": text}]
        else:
            body["prompt"] = text
            if self._style.style == "instruct":
                body["stop"] = [CLOSE_TAG]
        return await self._endpoint.complete(body, cap=generation_cap(prompt))

    def _reply(self, completion: Completion) -> str:
        self.tokens = Tokens(*map(sum, zip(self.tokens, completion.tokens, strict=True)))
        text = completion.text
        if not self._style.chat and OPEN_TAG in text and not completion.capped:
            text += CLOSE_TAG  # the stop that ended it, which servers leave out
        reply = extract_reply(self._style, text)
        return CappedReply(reply) if completion.capped else reply

    def close(self) -> None:
        """Close the connections. A process that ends need not."""
        asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _next_items(arrived: queue.SimpleQueue[tuple[int, Completion] | None]) -> list[tuple[int, Completion]]:
    """Wait for an item, and take what else is there; empty when the end, None, is reached."""
    item = arrived.get()
    items = []
    while item is not None:
        items.append(item)
        try:
            item = arrived.get_nowait()
        except queue.Empty:
            return items
    if items:
        arrived.put(None)  # the end is for the next call
    return items
