"""Tasks learned from demonstrations: rows read back as text, a row's probability by hand, resuming, the command."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from typer.testing import CliRunner

from lgbench.analysis import in_context_training
from lgbench.analysis.demonstrated import DemonstratedRecord, analyze_in_context, mixed_tokens, tabulate_in_context
from lgbench.analysis.in_context import FAMILIES, find_family, training_tokens
from lgbench.analysis.in_context_training import InContextPlan, InContextTraining, plan_in_context
from lgbench.analysis.mixtures import Answered, measure, placed, whole_shares
from lgbench.analysis.progress import Progress
from lgbench.analysis.records import read_analysis
from lgbench.cli import app
from lgbench.data.task import Stream
from lgbench.models.tokenizer import PUBLISHED
from lgbench.util.errors import LgbenchError

TINY = ["layers=1", "heads=1", "width=8", "hidden=8", "batch=4", "steps=6"]


def tiny(**changed: Any) -> InContextPlan:
    given: dict[str, Any] = {"family": "shift", "demonstrations": 4, "seed": 0, "changes": TINY}
    return plan_in_context(**(given | changed))


def demonstrations(row: list[int]) -> list[tuple[str, str]]:
    """The questions and answers of a row of tokens."""
    text = "".join(PUBLISHED.tokens[token] for token in row)
    assert text.startswith("<begin>")
    assert text.endswith(",")
    parts = [each.split(">") for each in text.removeprefix("<begin>").removesuffix(",").split(",")]
    return [(question, answer) for question, answer in parts]


def solved(family: str, question: str, value: int) -> str:
    return str((int(question) + value) % 10) if family == "shift" else question[value]


@pytest.mark.parametrize("name", FAMILIES)
def test_a_row_of_training_has_one_hidden_value(name: str) -> None:
    family = find_family(name)
    rows = training_tokens(family, seed=3, step=5, rows=30, demonstrations=6).tolist()
    hidden = []
    for row in rows:
        pairs = demonstrations(row)
        assert len(pairs) == 7
        fits = [
            value for value in range(family.values) if all(solved(name, asked, value) == said for asked, said in pairs)
        ]
        assert len(fits) == 1
        hidden += fits
        assert all(len(asked) == family.size for asked, _ in pairs)
        if name == "copy":
            assert all(len(set(asked)) == 8 for asked, _ in pairs)
    assert len(set(hidden)) > 1
    wanted = [
        [PUBLISHED.tokens[token] for token, counts in zip(row, family.answered(7), strict=True) if counts]
        for row in rows[:1]
    ]
    assert wanted == [[sign for _, said in demonstrations(rows[0]) for sign in (said, ",")]]
    assert rows != training_tokens(family, seed=3, step=6, rows=30, demonstrations=6).tolist()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_mixed_prompt_has_its_counts_and_a_question_of_its_own(name: str) -> None:
    family = find_family(name)
    first, second = family.pair
    both = mixed_tokens(family, family.pair, (3, 2), 20).tolist()
    orders = set()
    for one, two in zip(*both, strict=True):
        *before, (asked, of_first) = demonstrations(one)
        *same, (again, of_second) = demonstrations(two)
        assert before == same
        assert asked == again
        assert (of_first, of_second) == (solved(name, asked, first), solved(name, asked, second))
        assert asked not in [question for question, _ in before]
        order = tuple(solved(name, question, first) == said for question, said in before)
        assert sum(order) == 3
        orders.add(order)
    assert len(orders) > 3


def test_the_measure_of_known_probabilities() -> None:
    given = torch.tensor([[0.5, 0.25], [0.25, 0.125]], dtype=torch.float64)
    found = measure([0.75, 0.25], Answered(given.log(), torch.tensor([[True, False], [False, False]])))
    assert found.probabilities == pytest.approx((0.375, 0.1875))
    assert found.deviations == pytest.approx((0.125, 0.0625))
    assert found.other == pytest.approx(0.4375)
    assert found.greedy == pytest.approx((0.5, 0))
    expected = 0.75 * math.log(0.75 / 0.375) + 0.25 * math.log(0.25 / 0.1875)
    assert found.divergence == pytest.approx(expected, abs=1e-6)
    each = [0.75 * math.log(0.75 / p) + 0.25 * math.log(0.25 / q) for p, q in given.tolist()]
    assert found.mean_divergence == pytest.approx(sum(each) / 2, abs=1e-6)
    alone = measure([1, 0], Answered(given.log(), torch.zeros(2, 2, dtype=torch.bool)))
    assert alone.divergence == pytest.approx(-math.log(0.375), abs=1e-6)


def test_shares_become_whole_demonstrations_at_random_places() -> None:
    assert whole_shares((1 / 3, 1 / 3, 1 / 3), 60) == [20, 20, 20]
    assert whole_shares((0.7, 0.3), 10) == [7, 3]
    assert sorted(whole_shares((1 / 3, 1 / 3, 1 / 3), 5)) == [1, 2, 2]
    found = placed(Stream("x"), (3, 1), 40).tolist()
    assert all(Counter(row) == {0: 3, 1: 1} for row in found)
    assert {row.index(1) for row in found} == {0, 1, 2, 3}


def test_probabilities_are_those_of_the_model_token_by_token(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny()
    record = analyze_in_context(plan, demonstrations=[2], prompts=3, device="cpu")
    training = InContextTraining(plan, None, "cpu")
    training.run(lambda _: None)
    assert training.weights_sha256() == record.weights_sha256
    rows = mixed_tokens(find_family("shift"), record.values, (1, 1), 3)
    point = record.cells[0].points[5]
    assert point.shares == (0.5, 0.5)
    for task in (0, 1):
        found = []
        for row in rows[task]:
            probability = 1.0
            for size in (len(row) - 2, len(row) - 1):
                with torch.no_grad():
                    probability *= float(training.module(row[None, :size])[0, -1].softmax(0)[row[size]])
            found.append(probability)
        assert point.probabilities[task] == pytest.approx(sum(found) / 3, abs=2e-6)


@pytest.mark.parametrize("more", [(), ("position_range=64",)], ids=["plain", "steps that draw"])
def test_a_training_that_was_interrupted_ends_in_the_same_weights(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, more: tuple[str, ...]
) -> None:
    plan = partial(tiny, changes=(*TINY, *more))
    torch.manual_seed(1)
    whole = InContextTraining(plan(), None, "cpu")
    whole.run(lambda _: None)
    monkeypatch.setattr(in_context_training, "_SAVE_EVERY", 2)
    monkeypatch.setattr(in_context_training, "_TELL_EVERY", 1)

    def interrupt(progress: Progress) -> None:
        if progress.done == 5:
            raise KeyboardInterrupt

    torch.manual_seed(2)  # it depends on nothing that the process drew
    with pytest.raises(KeyboardInterrupt):
        InContextTraining(plan(), tmp_path, "cpu").run(interrupt)
    seen: list[int] = []
    again = InContextTraining(plan(), tmp_path, "cpu")
    again.run(lambda progress: seen.append(progress.done))
    assert seen == [4, 5]
    assert again.weights_sha256() == whole.weights_sha256()
    assert again.loss == whole.loss
    done = InContextTraining(plan(), tmp_path, "cpu")
    assert done.weights_sha256() == whole.weights_sha256()
    with pytest.raises(LgbenchError, match="is of another training"):
        InContextTraining(plan(seed=1), tmp_path, "cpu")


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    command = ["analyze", "in-context", "fields", "--trained", "4", "--demonstrations", "2,3", "--prompts", "4"]
    command += [part for change in TINY for part in ("--set", change)]
    said = CliRunner().invoke(app, [*command, "--dry-run", "-o", str(tmp_path / "none")], catch_exceptions=False)
    assert (
        "Train fields, seed 0: 6 steps of 4 rows with 4 demonstrations and a question (31 tokens) of one of 3"
        in said.output
    )
    assert "ask 4 prompts of 2 and of 3 demonstrations of the values 0 and 1, at each of 11 mixtures" in said.output
    assert not (tmp_path / "none").exists()
    done = CliRunner().invoke(app, [*command, "-o", str(tmp_path / "found")], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "Not learned: under 90 % of the prompts of one value alone" in " ".join(done.output.split())
    assert {path.name for path in (tmp_path / "found").iterdir()} == {
        *("in-context.safetensors", "in-context.json", "in-context-mixtures.csv", "in-context.svg")
    }
    record = read_analysis(tmp_path / "found" / "in-context.json", DemonstratedRecord)
    assert [cell.demonstrations for cell in record.cells] == [2, 3]
    assert len(record.frame()) == 2 * 11
    assert json.loads(record.model_dump_json())["plan"]["settings"]["steps"] == 6
    assert len([part for part in tabulate_in_context(record) if not isinstance(part, str)]) == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["copies"], "'copies' is not a family"),
        (["shift", "--values", "3,3"], "3, 3 cannot be mixed: name two different hidden values of shift, from 0 to 9"),
        (["shift", "--values", "3,x"], "--values 'x' is not a number from 0 to 999,999"),
        (["shift", "--demonstrations", "1"], "1 demonstrations cannot be asked: a mixture takes 2 to 10000"),
        (["shift", "--set", "width=0"], "--set width=0: Input should be greater than or equal to 1"),
        (["shift", "--set", "breadth=1"], "'breadth' is not a setting"),
    ],
)
def test_bad_input_is_one_sentence(given: list[str], message: str) -> None:
    refused = CliRunner().invoke(app, ["analyze", "in-context", *given, "--dry-run"])
    assert isinstance(refused.exception, LgbenchError)
    assert message in str(refused.exception)
