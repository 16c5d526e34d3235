"""How examples and replies flow: cells are drawn ahead of the model, and what it returns is checked."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence

import pytest

from lgbench.cells import checked_cell
from lgbench.errors import ModelError
from lgbench.evaluation import evaluate
from lgbench.models.builtin import Oracle
from lgbench.models.contract import ask
from lgbench.running import asking
from lgbench.suites import Cell, Suite
from lgbench.task import Example

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
