"""Mixtures of two tags against a forward pass written out, and the record, the table and the picture."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from lgbench.analysis.mixtures import SHARES
from lgbench.analysis.opening import open_model
from lgbench.analysis.questions import draw_questions
from lgbench.analysis.superposition import SuperpositionRecord, analyze_superposition, tabulate_superposition
from lgbench.models.tokenizer import PUBLISHED
from lgbench.models.transformer import Transformer
from lgbench.util.errors import LgbenchError
from tests.shell import Shell

OPENED = open_model("tiny:transfer")


@pytest.fixture(scope="module", name="record")
def analyzed() -> SuperpositionRecord:
    return analyze_superposition(OPENED, others=["reverse"], lengths=[6], examples=16)


def by_hand(share: float, prompt: str, target: str) -> float:
    """The probability of a whole target: token by token, from the layers of the model."""
    model = OPENED.hooked.module
    assert isinstance(model, Transformer)
    row = [*PUBLISHED.encode_prompt("capitalize_reverse", prompt)]
    probability = 1.0
    for token in [*PUBLISHED.encode(target), 2]:
        with torch.no_grad():
            x = model.embedding(torch.tensor([row])).clone()
            tags = [PUBLISHED.task_tag(task) for task in ("capitalize_reverse", "reverse")]
            x[0, 1] = (1 - share) * model.embedding.weight[tags[0]] + share * model.embedding.weight[tags[1]]
            turn = model.rotation(0, len(row), x.device, x.dtype)
            for layer, block in enumerate(model.blocks):
                x = block(x, turn, None, layer)
            logits = model.head(model.norm(x))[0, -1]
        probability *= float(logits.softmax(0)[token])
        row.append(token)
    return probability


@pytest.mark.parametrize("place", [0, 4, 5])
def test_probabilities_are_those_of_a_forward_pass_written_out(place: int, record: SuperpositionRecord) -> None:
    asked = draw_questions(OPENED.suite, ["capitalize_reverse", "reverse"], 6, 16).examples
    point = record.pairs[0].points[place]
    ones = [by_hand(SHARES[place], each.prompt, each.target) for each in asked["capitalize_reverse"]]
    twos = [by_hand(SHARES[place], each.prompt, each.target) for each in asked["reverse"]]
    assert point.main == pytest.approx(sum(ones) / 16, abs=2e-4)
    assert point.other == pytest.approx(sum(twos) / 16, abs=2e-4)
    shares = (1 - SHARES[place], SHARES[place])
    terms = [
        sum(part * (math.log(part) - math.log(found)) for part, found in zip(shares, pair, strict=True) if part)
        for pair in zip(ones, twos, strict=True)
    ]
    assert point.divergence == pytest.approx(sum(terms) / 16, rel=1e-3, abs=1e-4)


def test_at_the_ends_each_task_is_answered_alone(record: SuperpositionRecord) -> None:
    (pair,) = record.pairs
    first, last = pair.points[0], pair.points[-1]
    assert first.main > 0.95
    assert first.other < 0.01
    assert last.other > 0.95
    assert last.main < 0.01
    assert (first.main_first, last.main_first) == (1, 0)
    assert pair.examples == 16


def test_the_record_comes_back_and_is_tabulated(record: SuperpositionRecord) -> None:
    assert SuperpositionRecord.model_validate_json(record.model_dump_json()) == record
    assert len(record.frame()) == len(SHARES)
    (table,) = tabulate_superposition(record)
    assert not isinstance(table, str)
    assert len(table.rows) == len(SHARES)


def test_on_the_command_line(lgbench: Shell, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    command = ["analyze", "superposition", "tiny:transfer", "--task", "capitalize", "--length", "4", "--examples", "16"]
    done = lgbench(*command, "--output", "found")
    assert done.status == 0, done.err
    assert "capitalize_reverse and capitalize at length 4" in done.out
    assert json.loads(Path("found/superposition.json").read_text("utf-8"))["pairs"][0]["other"] == "capitalize"
    assert Path("found/superposition.svg").exists()
    assert Path("found/superposition-mixtures.csv").read_text("utf-8").startswith("main,other,length,examples,share")


@pytest.mark.parametrize(
    ("model", "others", "message"),
    [
        ("tiny:main_only", [], "does not read the prompts"),
        ("tiny:transfer", ["mqar"], "was not trained on 'mqar'"),
    ],
)
def test_what_cannot_be_mixed_is_told(model: str, others: list[str], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        analyze_superposition(open_model(model), others=others)
