"""`api:...` against a server on loopback that takes a fixed time for each request, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from lgbench.cells import checked_cell
from lgbench.models.loading import load_model
from lgbench.suites import Cell, load_suite

SECONDS = 0.05
CONCURRENCY = 32
_ANSWER = {
    "object": "chat.completion",
    "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "<answer>1</answer>"}}
    ],
    "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
}
# Bare sockets: a server that computes would compete for the processor with what is measured.
_SERVER = """
import asyncio, sys
seconds, body = float(sys.argv[1]), sys.argv[2].encode()
head = f"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n".encode()

async def talk(reader, writer):
    try:
        while True:
            request = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
            await reader.readexactly(int(request.split(b"content-length:")[1].split(b"\\r\\n")[0]))
            await asyncio.sleep(seconds)
            writer.write(head + body)
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()

async def main():
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def request_rate() -> Iterator[str]:
    """Requests a second at concurrency 32, against the most that a server of 50 ms allows."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(SECONDS), json.dumps(_ANSWER)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield _measured(f"http://127.0.0.1:{int(server.stdout.readline())}/v1")
    finally:
        server.kill()
        server.communicate()


def _measured(url: str) -> str:
    options = {"base_url": url, "concurrency": str(CONCURRENCY), "key_env": "OPENAI_API_KEY"}
    predictor: Any = load_model("api:bench", options).predictor
    suite = load_suite("mini-v1")
    cells = [Cell("reverse_add", length) for length in suite.grid("reverse_add")]
    prompts = [[example.prompt for example in checked_cell(suite, cell)] for cell in cells]
    predictor.predict(prompts[0][: 2 * CONCURRENCY], "reverse_add")  # connections are made once
    begun, busy = time.perf_counter(), time.process_time()
    for of_cell in prompts:
        predictor.predict(of_cell, "reverse_add")
    seconds, busy = time.perf_counter() - begun, time.process_time() - busy
    predictor.close()
    count = sum(map(len, prompts))
    ideal = CONCURRENCY / SECONDS
    return (
        f"{count / seconds:,.0f} requests/s at concurrency {CONCURRENCY}, {100 * count / seconds / ideal:.0f} % of the "
        f"{ideal:,.0f} that {1000 * SECONDS:.0f} ms a request allow; {1000 * busy / count:.2f} ms of processor each"
    )
