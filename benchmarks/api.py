"""`lgbench eval api:...` against a server on loopback that takes a fixed time for each request."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.processes import run_process

SECONDS = 0.05
CONCURRENCY = 32
TASKS = ("reverse_add", "no_carry")  # 20 cells of mini-v1, 5120 requests
_ALONE = 2048
_ANSWER = {
    "object": "chat.completion",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "<answer>1</answer>"}}
    ],
    "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
}
# A process of its own that does next to nothing: it must not compete with what it measures. It answers GET with what
# it saw since the last GET: the requests, and the seconds from the first of them to the last answer.
_SERVER = """
import asyncio, json, sys

seconds, body = float(sys.argv[1]), sys.argv[2].encode()
times = []

def response(body):
    return b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body) + body

answer = response(body)

class Connection(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.received = transport, b""

    def data_received(self, data):
        self.received += data
        head, end, rest = self.received.partition(b"\\r\\n\\r\\n")
        if not end:
            return
        if head.startswith(b"GET"):
            seen = {"requests": len(times), "seconds": max(times) + seconds - min(times)}
            self.transport.write(response(json.dumps(seen).encode()))
            times.clear()
        elif len(rest) >= int(head.lower().partition(b"content-length:")[2].partition(b"\\r\\n")[0]):
            times.append(loop.time())
            loop.call_later(seconds, self.transport.write, answer)
        else:
            return
        self.received = b""

async def main():
    global loop
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Connection, "127.0.0.1", 0, backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


class _Seen(NamedTuple):
    """What the server saw: requests, and seconds from the first of them to the last answer."""

    requests: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def request_rate() -> Iterator[str]:
    """Requests a second of `lgbench eval api:...`, against what the server's time for each allows.

    The steady rate is the server's: from the first request to the last answer, without the start of the process.
    """
    ideal = CONCURRENCY / SECONDS
    with _server() as port:
        alone = asyncio.run(_drive(port))
        yield (
            f"ideal: {ideal:,.0f} requests/s at concurrency {CONCURRENCY} and {1000 * SECONDS:.0f} ms a request; "
            f"bare sockets reach {alone.rate:,.0f} ({100 * alone.rate / ideal:.0f} %)"
        )
        with tempfile.TemporaryDirectory() as folder:
            process = run_process(_evaluation(port, folder))
        seen = asyncio.run(_ask(port))
    yield (
        f"lgbench eval api:... over {seen.requests:,} requests: {seen.rate:,.0f} requests/s, "
        f"{100 * seen.rate / ideal:.0f} % of the ideal; {1000 * process.processor_seconds / seen.requests:.2f} ms of "
        "processor each, start included"
    )
    yield (
        f"the whole process: {process.seconds:.2f} s, of which {process.seconds - seen.seconds:.2f} s before the first "
        f"request and after the last answer; {seen.requests / process.seconds:,.0f} requests/s"
    )


@contextlib.contextmanager
def _server() -> Iterator[int]:
    """Start the server; gives its port."""
    arguments = [str(SECONDS), json.dumps(_ANSWER)]
    process = subprocess.Popen([sys.executable, "-c", _SERVER, *arguments], stdout=subprocess.PIPE, encoding="utf-8")
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _evaluation(port: int, folder: str) -> list[str]:
    options = [f"base_url=http://127.0.0.1:{port}/v1", f"concurrency={CONCURRENCY}"]
    return [
        *(sys.executable, "-m", "lgbench", "eval", "api:bench", "--output", f"{folder}/run"),
        *(f"--task={task}" for task in TASKS),
        *(f"--model-option={option}" for option in options),
    ]


async def _drive(port: int) -> _Seen:
    """The least that a client can do: the same bytes again and again."""
    requests = iter(range(_ALONE))
    body = json.dumps({"messages": [{"role": "user", "content": "1" * 500}]}).encode()
    request = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    async def work() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in requests:
            writer.write(request)
            await _body(reader)
        writer.close()

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    return await _ask(port)


async def _ask(port: int) -> _Seen:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    seen = _Seen(**json.loads(await _body(reader)))
    writer.close()
    return seen


async def _body(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    return await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))
