"""Questions on their way to a server and outcomes on their way back, between two threads."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator

from lgbench.models.api.answers import Completion
from lgbench.models.contract import Question
from lgbench.util.stopping import handling

_log = logging.getLogger(__name__)
Outcome = tuple[int, Completion | None]


class Conversation:
    """Questions on their way to the server and outcomes on their way back, between two threads.

    Args:
        ask: Asks one question. It is given an event: once that is set, nobody waits any more to send.
        concurrency: The most questions under way at once.
        loop: The event loop of the other thread.

    Attributes:
        failures: What ended the conversation, if anything did.
        over: Whether no further question is begun. What is under way then has been paid for.
    """

    def __init__(
        self,
        ask: Callable[[Question, asyncio.Event], Awaitable[Completion]],
        concurrency: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.failures: list[BaseException] = []
        self.over = False
        self._ask = ask
        self._concurrency = concurrency
        self._loop = loop
        self._questions: asyncio.Queue[tuple[int, Question]] = asyncio.Queue()
        self._send_no_more = asyncio.Event()
        self._turn = asyncio.Lock()
        self._outcomes: list[Outcome] = []
        self._released = 0
        self._news = threading.Event()
        self._given_up = False

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Answer questions during the block, in which Ctrl-C or SIGTERM ends the conversation.

        A `KeyboardInterrupt` at a place of its choice would lose replies between their arrival and the disk.
        """
        working = asyncio.run_coroutine_threadsafe(self._work_all(), self._loop)
        try:
            with handling(self._interrupted):
                yield
        finally:
            working.cancel()

    def _interrupted(self, usual: Callable[[], None]) -> None:
        """Handle a Ctrl-C. It may come while this thread holds any lock, so that the other thread does what needs one.

        The first ends the conversation, the second gives up what is under way, the third is none of our business.
        """
        if self._given_up:
            usual()
        elif self.over:
            self._given_up = True
            self._loop.call_soon_threadsafe(self._news.set)
        else:
            self.end(KeyboardInterrupt())
            self._loop.call_soon_threadsafe(
                _log.warning, "Waiting for replies under way, which are paid for. Ctrl-C again gives them up."
            )

    def put(self, following: Callable[[], Question | None], *, first: int, room: int) -> int:
        """Take questions, numbered from `first`, as long as there is room and something follows; returns how many."""
        new: list[Question] = []
        try:
            new.extend(itertools.islice(iter(following, None), room))
        except Exception as failure:  # noqa: BLE001  # raised once the replies under way are handed on
            self.end(failure)
        self._loop.call_soon_threadsafe(self._put, enumerate(new, first))
        return len(new)

    def _put(self, questions: Iterable[tuple[int, Question]]) -> None:
        for numbered in questions:
            self._questions.put_nowait(numbered)

    def end(self, failure: BaseException | None = None) -> None:
        """Begin no further question. May be called in either thread."""
        if failure is not None:
            self.failures.append(failure)
        self.over = True
        self._loop.call_soon_threadsafe(self._send_no_more.set)

    async def _work_all(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(self._concurrency)))

    async def _work(self) -> None:
        while True:
            number, asked = await self._questions.get()
            completion = None
            await self._one_a_turn()
            if not self.over:
                try:
                    completion = await self._ask(asked, self._send_no_more)
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

    def arrived(self, after: int) -> list[Outcome]:
        """Wait until there are more than `after` outcomes, and give those that follow; the ones before were handed on.

        An outcome has no completion where the question failed or was not asked. There is none if all that are still
        missing were given up.
        """
        self._outcomes[self._released : after] = [(0, None)] * (after - self._released)  # their texts need not stay
        self._released = after
        while len(self._outcomes) <= after and not self._given_up:
            self._news.wait()
            self._news.clear()
        return self._outcomes[after:]
