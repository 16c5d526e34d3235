"""MODEL `api:...` against a real server: `transformers serve` with a model made on the spot.

Needs the extras `hf`, `api` and `peers`; skipped where one is not installed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers")
pytest.importorskip("openai")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from benchmarks.llama import make_llama
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.models.contract import CappedReply
from lgbench.models.loading import load_model

pytestmark = pytest.mark.peers
PROMPTS = [example.prompt for example in draw_cell(load_suite("mini-v1"), "reverse_add", 4)[:12]]
_SERVE = "from transformers.cli.transformers import main; main()"


@pytest.fixture(name="folder", scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_llama(tmp_path_factory.mktemp("served"), chat=True, end_weight=1.5)


@pytest.fixture(name="url", scope="module")
def _url(folder: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    arguments = ["serve", str(folder), "--host", "127.0.0.1", "--port", port, "--device", "cpu"]
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVE, *arguments],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until_it_answers(f"http://127.0.0.1:{port}/health", server)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait()


def _wait_until_it_answers(address: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server did not start")


@pytest.mark.parametrize(
    ("endpoint", "style"),
    [("completions", {"template": "<{task}>{prompt}"}), ("chat", {"style": "instruct", "shots": "1"})],
)
def test_a_served_model_replies_as_it_does_here(folder: Path, url: str, endpoint: str, style: dict[str, str]) -> None:
    here: Any = load_model(f"hf:{folder}", style).predictor
    served: Any = load_model(f"api:{folder}", {"base_url": url, "endpoint": endpoint, **style}).predictor
    try:
        replies = served.predict(PROMPTS, "reverse_add")
    finally:
        served.close()
    expected = here.predict(PROMPTS, "reverse_add")
    assert replies == expected
    assert len(set(replies)) > 1
    assert [isinstance(reply, CappedReply) for reply in replies] == [
        isinstance(reply, CappedReply) for reply in expected
    ]
    assert served.tokens.prompt > 0
