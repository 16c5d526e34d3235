"""How examples and replies flow: cells are drawn ahead of the model."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from lgbench.cells import checked_cell
from lgbench.evaluation import evaluate
from lgbench.models.builtin import Oracle
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
