"""A server on loopback that follows a rule, and the questions that tests ask it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lgbench.data.tasks import get_task
from lgbench.models.loaded import Model

KEY = "sk-a-secret-key"
Answer = tuple[int, dict[str, str], bytes | Iterable[bytes]]
"""Status, headers with `_` for `-`, and content; content in pieces needs a header that says how long it is."""
Rule = Callable[[int, dict[str, Any]], Answer]


def completion(text: str | None, *, finish: str = "stop", chat: bool = True) -> tuple[int, dict[str, str], bytes]:
    written = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    return choice(finish_reason=finish, **written)


def choice(**fields: Any) -> tuple[int, dict[str, str], bytes]:
    """An answer with one choice."""
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    record = {"object": "x", "choices": [{"index": 0, **fields}], "usage": usage}
    return 200, {}, json.dumps(record).encode()


def failure(status: int, message: str, code: str = "", **headers: str) -> Answer:
    return status, headers, json.dumps({"error": {"message": message, "code": code, "type": code}}).encode()


def right_answer(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
    """The target, said as a model would say it."""
    prompt = body["messages"][0]["content"].splitlines()[-1] if "messages" in body else body["prompt"]
    return completion(f"It is <answer>{get_task('reverse').solve(prompt)}</answer>.", chat="messages" in body)


class _Loopback:
    """Serves on a free port until it is closed.

    Attributes:
        url: Its address.
    """

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Writes no log, and lets a client leave that has seen enough, is interrupted or at its deadline."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, *_: Any) -> None:
        pass


class Server(_Loopback):
    """Answers the n-th request, counted from 0, by a rule. A status of 0 means to hang up without a word."""

    def __init__(self, rule: Rule) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.gets: list[str] = []
        self.under_way = self.most_under_way = 0
        lock = threading.Lock()
        outer = self

        class Handler(_Handler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    number = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.paths.append(self.path)
                    outer.headers.append({key.lower(): value for key, value in self.headers.items()})
                    outer.under_way += 1
                    outer.most_under_way = max(outer.most_under_way, outer.under_way)
                try:
                    status, headers, content = rule(number, body)
                finally:
                    with lock:
                        outer.under_way -= 1
                if status == 0:
                    self.close_connection = True
                    return
                if isinstance(content, bytes):
                    self.close_connection = int(headers.get("Content_Length", "0")) > len(content)
                    headers = {"Content_Length": str(len(content))} | headers
                    content = [content]
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key.replace("_", "-"), value)
                self.end_headers()
                try:
                    for piece in content:
                        self.wfile.write(piece)
                except ConnectionError:  # the client has heard enough
                    self.close_connection = True

            def do_GET(self) -> None:
                outer.gets.append(self.path)
                self.send_error(405)

        super().__init__(Handler)
        self.url += "/v1"


Serve = Callable[..., tuple[Model, Server]]


def ask(model: Model, count: int = 3) -> list[str]:
    predictor: Any = model.predictor
    return list(predictor.predict([f"{'ab' * number}c=" for number in range(count)], "reverse"))


RIGHT = ["c", "cba", "cbaba"]


class Files(_Loopback):
    """Serves files by GET: their content, or an answer of the test's own.

    Attributes:
        content: By path, as `/a.safetensors`. A number is a status; a text, where the server sends on to.
        asked: The paths that were asked for.
    """

    def __init__(self) -> None:
        self.content: dict[str, bytes | int | str] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(_Handler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                found = outer.content.get(self.path, 404)
                self.send_response(found if isinstance(found, int) else 302 if isinstance(found, str) else 200)
                if isinstance(found, str):
                    self.send_header("location", found)
                content = found if isinstance(found, bytes) else b""
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        super().__init__(Handler)
