"""A model behind an OpenAI-compatible server as a predictor."""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import openai

from lgbench.models.api.answers import Completion
from lgbench.models.api.requests import Endpoint
from lgbench.models.contract import CappedReply, PipelinedPredictor, Question, RefusedReply, Tokens
from lgbench.models.prompting import CLOSE_TAG, OPEN_TAG, extract_reply, generation_cap, question, warn_of_confusion
from lgbench.results import PromptStyle
from lgbench.suites import Suite, load_suite

if TYPE_CHECKING:
    from lgbench.models.api.options import Options

_log = logging.getLogger(__name__)
_Outcome = tuple[int, Completion | None]


class ApiPredictor(PipelinedPredictor):
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
            api_key=key or "none",
            base_url=options.base_url,
            timeout=options.timeout,
            max_retries=0,
            http_client=openai.DefaultAioHttpClient(timeout=options.timeout),  # half the processor time of the default
        )
        path = "/chat/completions" if options.endpoint == "chat" else "/completions"
        self._endpoint = Endpoint(
            self._client,
            path,
            retries=options.retries,
            secret=key,
            key_env=options.key_env,
            passes_over=options.refused == "empty",
        )
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

    def converse(self, following: Callable[[], Question | None]) -> Iterator[Mapping[int, str]]:
        """Reply to questions, in the order in which the server answers.

        Raises:
            LgbenchError: The server refused, or failed too often. Replies under way were waited for and handed on.
        """
        conversation = _Conversation(self._ask, self._concurrency)
        working = asyncio.run_coroutine_threadsafe(conversation.work(), self._loop)
        asked = answered = 0
        try:
            while True:
                # Some wait their turn, so that a request begins at once when another ends.
                if asked - answered <= 1.5 * self._concurrency and not conversation.failures:
                    room = 2 * self._concurrency - (asked - answered)
                    new = list(itertools.islice(iter(following, None), room))
                    self._loop.call_soon_threadsafe(conversation.put, enumerate(new, asked))
                    asked += len(new)
                if asked == answered:
                    break
                try:
                    outcomes = conversation.arrived(answered)
                except KeyboardInterrupt as interrupt:
                    if conversation.failures:
                        raise
                    conversation.failures.append(interrupt)  # at once, as a second Ctrl-C must find it
                    self._loop.call_soon_threadsafe(conversation.end, interrupt)
                    _log.warning("Waiting for replies under way, which are paid for. Ctrl-C again gives them up.")
                    continue
                answered += len(outcomes)
                if completions := {number: completion for number, completion in outcomes if completion is not None}:
                    yield {number: self._reply(completion) for number, completion in completions.items()}
        finally:
            working.cancel()
        if conversation.failures:
            raise conversation.failures[0]

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


class _Conversation:
    """Questions on their way to the server and outcomes on their way back, between two threads.

    Attributes:
        failures: What ended the conversation. What is under way then has been paid for; nothing new is begun.
    """

    def __init__(self, ask: Callable[[Question, asyncio.Event], Awaitable[Completion]], concurrency: int) -> None:
        self._questions: asyncio.Queue[tuple[int, Question]] = asyncio.Queue()
        self.failures: list[BaseException] = []
        self._ask = ask
        self._over = asyncio.Event()
        self._turn = asyncio.Lock()
        self._concurrency = concurrency
        self._outcomes: list[_Outcome] = []
        self._released = 0
        self._news = threading.Event()

    def put(self, questions: Iterable[tuple[int, Question]]) -> None:
        """Add questions, with their numbers. Called in the event loop."""
        for numbered in questions:
            self._questions.put_nowait(numbered)

    async def work(self) -> None:
        """Answer questions until cancelled."""
        await asyncio.gather(*(self._work() for _ in range(self._concurrency)))

    async def _work(self) -> None:
        while True:
            number, asked = await self._questions.get()
            completion = None
            await self._one_a_turn()
            if not self.failures:
                try:
                    completion = await self._ask(asked, self._over)
                except Exception as failure:  # noqa: BLE001  # raised in the other thread, which would wait for ever
                    self.end(failure)
            self._outcomes.append((number, completion))
            self._news.set()

    async def _one_a_turn(self) -> None:
        """Wait until this question is the only one to begin in a turn of the event loop.

        The client writes a request at the end of the turn that begins it. Those begun in one turn would leave together,
        each late by the making of all, and their answers would come together, for ever.
        """
        await self._turn.acquire()
        asyncio.get_running_loop().call_soon(self._turn.release)

    def end(self, failure: BaseException) -> None:
        """Begin no further question. Called in the event loop."""
        self.failures.append(failure)
        self._over.set()

    def arrived(self, after: int) -> list[_Outcome]:
        """Wait until there are more than `after` outcomes, and give those that follow; the ones before were handed on.

        An outcome has no completion where the question failed or was not asked. None is taken out, so that a Ctrl-C at
        any point loses none: the next call gives the same.
        """
        self._outcomes[self._released : after] = [(0, None)] * (after - self._released)  # their texts need not stay
        self._released = after
        while len(self._outcomes) <= after:
            self._news.wait()
            self._news.clear()
        return self._outcomes[after:]
