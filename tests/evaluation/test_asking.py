"""How examples and replies flow: cells are drawn ahead of the model, and what it returns is checked."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from lgbench.data.cells import checked_cell
from lgbench.data.suites import Cell, Suite
from lgbench.data.task import Example
from lgbench.evaluation import asking
from lgbench.evaluation.evaluator import evaluate
from lgbench.models.builtin import Oracle
from lgbench.models.contract import CappedReply
from lgbench.models.loading import load_model
from lgbench.models.safe_call import ask, own_batch_size
from lgbench.util.errors import ModelError

LENGTHS = [4, 6, 8]


def test_the_next_cell_is_drawn_while_the_model_works_on_one(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {length: threading.Event() for length in LENGTHS}
    seen: dict[int, list[bool]] = {}

    def told(suite: Suite, cell: Cell) -> Sequence[Example]:
        examples = checked_cell(suite, cell)
        drawn[cell.length].set()
        return examples

    class Waiting:
        """Replies only when the next cell is drawn."""

        def predict(self, prompts: Sequence[str], task: str) -> list[str]:
            length = len(prompts[0]) - 1
            if length not in seen:
                (following, *others) = [each for each in LENGTHS if each > length] or [length]
                came = drawn[following].wait(60)
                seen[length] = [came, *(drawn[other].is_set() for other in others)]
            return Oracle().predict(prompts, task)

    monkeypatch.setattr(asking, "checked_cell", told)
    result = evaluate(Waiting(), suite="mini-v1", tasks=["reverse"], lengths=LENGTHS, limit=5)
    assert [cell.counts.correct for cell in result.cells] == [5, 5, 5]
    assert seen == {4: [True, False], 6: [True], 8: [True]}, "the next cell, and none beyond it"


class Returns:
    """A model whose `predict` returns what a function makes of the prompts."""

    def __init__(self, made: Callable[[Sequence[str]], object]) -> None:
        self.made = made

    def predict(self, prompts: Sequence[str], task: str) -> list[str]:
        return self.made(prompts)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda prompts: dict.fromkeys(prompts, "reply"), "returned dict, not a list"),
        (set, "returned set, not a list"),
        (frozenset, "returned frozenset, not a list"),
        (lambda prompts: itertools.repeat("a"), "returned more than 2 replies"),
    ],
    ids=["dict", "set", "frozenset", "endless"],
)
def test_what_is_no_row_of_replies_is_refused(made: Callable[[Sequence[str]], object], told: str) -> None:
    with pytest.raises(ModelError, match=told):
        ask(Returns(made), ["ab=", "cd="], "reverse")


def test_replies_may_come_from_a_generator() -> None:
    assert ask(Returns(lambda prompts: (prompt.upper() for prompt in prompts)), ["ab=", "cd="], "reverse") == [
        "AB=",
        "CD=",
    ]


class Sly(str):
    """A string whose methods say other things than its text."""

    __slots__ = ()

    def __getitem__(self, key: object) -> str:
        raise RuntimeError("sliced")

    def __str__(self) -> str:
        return "other"

    def encode(self, *_: str) -> bytes:
        raise RuntimeError("encoded")


class SlyCapped(Sly, CappedReply):
    __slots__ = ()


def test_replies_of_a_class_of_their_own_are_read_as_their_text() -> None:
    one, two = ask(Returns(lambda prompts: [Sly("a"), SlyCapped("b")]), ["ab=", "cd="], "reverse")
    assert (type(one), type(two)) == (str, CappedReply)
    assert (one, str(two)) == ("a", "b")
    result = evaluate(Returns(lambda prompts: [Sly("a")] * len(prompts)), tasks=["reverse"], lengths=[4], limit=2)
    assert result.cells[0].counts.total == 2


class Mute(Exception):  # noqa: N818  # it says nothing of itself
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_without_words_is_told_by_its_name() -> None:
    def failing(prompts: Sequence[str]) -> object:
        raise Mute

    with pytest.raises(ModelError, match=r"raised Mute$"):
        ask(Returns(failing), ["ab="], "reverse")


ATTRIBUTES = """
import numpy as np

class Model:
    def predict(self, prompts, task):
        return ["a"] * len(prompts)

class Counted(Model):
    parameters = np.int64(7)
"""


@pytest.mark.parametrize("name", ["device", "parameters", "batch_size"])
def test_an_attribute_that_raises_is_told_before_the_first_prompt(name: str, tmp_path: Path) -> None:
    path = tmp_path / "raising.py"
    broken = f"\nclass Broken(Model):\n    @property\n    def {name}(self):\n        raise RuntimeError('not yet')\n"
    path.write_text(ATTRIBUTES + broken, encoding="utf-8")
    with pytest.raises(ModelError, match=f"The model's {name} raised RuntimeError: not yet"):
        load_model(f"{path}:Broken")


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "counted.py"
    path.write_text(ATTRIBUTES, encoding="utf-8")
    assert load_model(f"{path}:Counted").system.parameters == 7
    asked: list[int] = []

    def made(prompts: Sequence[str]) -> object:
        asked.append(len(prompts))
        return prompts

    model = Returns(made)
    model.batch_size = np.int64(1)  # type: ignore[attr-defined]
    evaluate(model, tasks=["reverse"], lengths=[4], limit=3)
    assert set(asked) == {1}


def test_a_truth_is_no_number() -> None:
    model = Returns(lambda prompts: prompts)
    model.batch_size = True  # type: ignore[attr-defined]
    assert own_batch_size(model) is None
