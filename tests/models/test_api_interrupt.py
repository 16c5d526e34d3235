"""MODEL `api:...`: a Ctrl-C anywhere, and a run that fails anywhere, keep every reply that was paid for."""

from __future__ import annotations

import itertools
import json
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")

from lgbench.evaluation import loop
from lgbench.evaluation.evaluator import evaluate
from lgbench.evaluation.folder import RunFolder
from lgbench.evaluation.grading import CellGrader, OpenCell
from lgbench.evaluation.rescoring import rescore
from lgbench.evaluation.stored import RepliesDigest
from lgbench.models.api.conversation import Conversation
from lgbench.models.api.predictor import ApiPredictor
from lgbench.util.errors import LgbenchError
from tests.loopback import Answer, Serve, right_answer

LENGTHS = [4, 6]
LIMIT = 20
PLACES = [
    (RunFolder, "append"),
    (RunFolder, "store"),
    (RunFolder, "earlier"),
    (OpenCell, "add"),
    (CellGrader, "add"),
    (RepliesDigest, "add"),
    (ApiPredictor, "_reply"),
    (Conversation, "put"),
    (Conversation, "arrived"),
    (loop.Running, "_report"),
]


def slowly(number: int, body: dict[str, Any]) -> Answer:
    time.sleep(0.02)
    return right_answer(body)


def kept_in(folder: Path) -> list[str]:
    return [json.loads(line)["id"] for line in (folder / "replies.partial.jsonl").read_bytes().splitlines()]


def press(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def at_call(
    number: int, do: Callable[[], None], kind: type, name: str, patch: pytest.MonkeyPatch, *, after: bool
) -> None:
    """Do something before or after the call of this number, from 1, of a method."""
    method, calls = getattr(kind, name), itertools.count(1)

    def wrapped(*arguments: Any, **named: Any) -> Any:
        is_it = next(calls) == number
        if is_it and not after:
            do()
        returned = method(*arguments, **named)
        if is_it and after:
            do()
        return returned

    patch.setattr(kind, name, wrapped)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("kind", "name"), PLACES, ids=[f"{kind.__name__}.{name}" for kind, name in PLACES])
def test_ctrl_c_anywhere_loses_no_reply(serve: Serve, tmp_path: Path, kind: type, name: str, after: bool) -> None:
    model, server = serve(slowly, concurrency="8")
    choice: dict[str, Any] = {"tasks": ["reverse"], "lengths": LENGTHS, "limit": LIMIT, "output": tmp_path / "run"}
    with pytest.MonkeyPatch.context() as patch:
        at_call(2, press, kind, name, patch, after=after)
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, **choice)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    kept = kept_in(tmp_path / "run")
    assert len(kept) == len(set(kept)) == len(server.bodies)
    result = evaluate(model, **choice, resume=True)
    assert len(server.bodies) == len(LENGTHS) * LIMIT
    assert [cell.counts.correct for cell in result.cells] == [LIMIT] * len(LENGTHS)
    assert result.usage is not None
    assert result.usage.prompt_tokens == 100 * len(server.bodies)
    assert rescore(tmp_path / "run").result == result


def test_ctrl_c_ends_a_run_with_a_batch_size(serve: Serve, tmp_path: Path) -> None:
    """The batch size bounds what is under way; replies are kept one by one all the same."""
    model, server = serve(slowly, concurrency="8")
    choice: dict[str, Any] = {"tasks": ["reverse"], "lengths": [4], "limit": 40, "output": tmp_path, "batch_size": 4}
    with pytest.MonkeyPatch.context() as patch:
        at_call(6, press, RunFolder, "append", patch, after=False)
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, **choice)
    assert server.most_under_way <= 4
    assert 0 < len(kept_in(tmp_path)) == len(server.bodies) < 40
    assert evaluate(model, **choice, resume=True).cells[0].counts.correct == 40
    assert len(server.bodies) == 40


def test_a_second_ctrl_c_gives_up_only_what_has_not_arrived(serve: Serve, tmp_path: Path) -> None:
    """Four replies arrive while the first is written, four never do; then come two Ctrl-C."""
    others = threading.Event()
    answered = threading.Barrier(5)

    def rule(number: int, body: dict[str, Any]) -> Answer:
        if number >= 5:
            others.wait(60)
        elif number > 0:
            answered.wait(60)
        return right_answer(body)

    def two() -> None:
        answered.wait(60)
        while len(server.bodies) < 9 or sum(completion is not None for _, completion in outcomes()) < 4:
            time.sleep(0.01)
        press(2)

    model, server = serve(rule, concurrency="9")
    adapter: Any = model.predictor
    outcomes: Callable[[], Any] = lambda: adapter._conversation._outcomes[1:]  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        at_call(1, two, RunFolder, "append", patch, after=False)
        with pytest.raises(KeyboardInterrupt):
            evaluate(model, tasks=["reverse"], lengths=[4], limit=9, output=tmp_path)
    assert len(server.bodies) == 9
    assert len(kept_in(tmp_path)) == 5
    others.set()


@pytest.mark.parametrize("error", [KeyboardInterrupt, BrokenPipeError])
def test_a_caller_that_fails_loses_no_reply(serve: Serve, tmp_path: Path, error: type[BaseException]) -> None:
    model, server = serve(slowly, concurrency="8")

    def report(progress: loop.Progress) -> None:
        if progress.done >= 5:  # two may arrive together
            raise error

    with pytest.raises(error):
        evaluate(model, tasks=["reverse"], lengths=[4], limit=40, output=tmp_path, on_progress=report)
    assert len(kept_in(tmp_path)) == len(server.bodies) < 40


def test_a_cell_that_cannot_be_drawn_loses_no_reply(serve: Serve, tmp_path: Path) -> None:
    def broken(*_: Any) -> None:
        raise LgbenchError("Line 7 is damaged.")

    model, server = serve(slowly, concurrency="8")
    with pytest.MonkeyPatch.context() as patch:
        at_call(1, lambda: patch.setattr(RunFolder, "earlier", broken), RunFolder, "earlier", patch, after=True)
        with pytest.raises(LgbenchError, match="Line 7"):
            evaluate(model, tasks=["reverse"], lengths=LENGTHS, limit=LIMIT, output=tmp_path)
    assert 0 < len(kept_in(tmp_path)) == len(server.bodies)
