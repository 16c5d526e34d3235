"""What heads look at, against loops, a model built by hand, and the definitions of the tasks."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from typer.testing import CliRunner

from lgbench.analysis.attention import AttentionRecord, analyze_attention, pattern, source_share
from lgbench.analysis.attention_tables import tabulate_attention
from lgbench.analysis.opening import Opened, open_model
from lgbench.analysis.questions import draw_questions
from lgbench.analysis.records import read_analysis
from lgbench.analysis.sources import has_sources, sources_of, target_of
from lgbench.analysis.teacher import make_rows
from lgbench.cli import app
from lgbench.data.cells import draw_cell
from lgbench.data.suites import load_suite
from lgbench.data.task import Example
from lgbench.data.tasks import get_task
from lgbench.util.errors import LgbenchError
from lgbench.util.tables import Table
from tests.analysis.test_heads import by_hand, fresh

MINI = load_suite("mini-v1")
TEXTS = ["string_copy", "reverse", "capitalize", "capitalize_reverse", "mqar", "repeat_first", "copy_first_op"]
SUMS = ["reverse_add", "no_carry", "carry_only", "reverse_subtract"]


@pytest.fixture(scope="module")
def tiny() -> Opened:
    return open_model("tiny:transfer", device="cpu")


@pytest.mark.parametrize("task", TEXTS)
def test_a_letter_comes_from_its_source(task: str) -> None:
    for length in (2, 5, 9):
        for each in draw_cell(MINI, task, length, split="dev")[:20]:
            found = sources_of(task, each.prompt)
            assert [len(places) for places in found] == [1] * len(each.target)
            assert "".join(each.prompt[at] for (at,) in found).lower() == each.target.lower()


@pytest.mark.parametrize("task", SUMS)
def test_a_digit_comes_from_its_column(task: str) -> None:
    """From the two digits and whether something is carried, the digit follows."""
    carry: dict[tuple[int, ...], set[str]] = {}
    for length in (2, 5, 9):
        for each in draw_cell(MINI, task, length, split="dev"):
            found = sources_of(task, each.prompt)
            assert len(found) == len(each.target)
            for digit, places in zip(each.target, found, strict=True):
                if places:
                    carry.setdefault(tuple(int(each.prompt[at]) for at in places), set()).add(digit)
    for (first, second), digits in carry.items():
        if task == "carry_only":
            able = {str(int(first + second + more >= 10)) for more in (0, 1)}
        else:
            sign = -1 if task == "reverse_subtract" else 1
            able = {str((first + sign * (second + more)) % 10) for more in ((0,) if task == "no_carry" else (0, 1))}
        assert digits <= able
    assert len(carry) > 50


def test_of_the_other_tasks_the_sources_are_not_known() -> None:
    known = {task.name for task in MINI.tasks if has_sources(task.name)}
    assert known == {*TEXTS, *SUMS}


@pytest.mark.parametrize(
    ("task", "prompt"),
    [
        ("reverse", "abc"),
        ("reverse", "12="),
        ("mqar", "abc="),
        ("mqar", "abc=x"),
        ("reverse_add", "12-30="),
        ("shortest_path", "abc"),
        ("reverse", ""),
    ],
)
def test_a_text_that_is_no_prompt_is_refused(task: str, prompt: str) -> None:
    with pytest.raises(LgbenchError, match="is not a prompt of"):
        target_of(get_task(task), prompt)


@pytest.mark.parametrize("task", ["capitalize_reverse", "capitalize"])
def test_the_share_by_loops(tiny: Opened, task: str) -> None:
    asked = draw_questions(MINI, [task], 5, 40).examples[task]
    found = source_share(tiny.hooked, asked)
    for layer, head, position in [(0, 1, 0), (1, 2, 3), (2, 2, 4)]:
        total = even = 0.0
        for each in asked:
            row, _ = tiny.hooked.encode(task, each.prompt, "")
            row = [*row, *tiny.hooked.encode(task, each.target[:position], "")[0][2:]]
            weights = tiny.hooked.attention(torch.tensor([row]))[layer, 0, head, -1]
            source = len(each.target) - 1 - position if "reverse" in task else position
            total += float(weights[2 + source])
            even += 1 / len(row)
        assert found.share[layer][head][position] == pytest.approx(total / 40, abs=1e-5)
        assert found.uniform[position] == pytest.approx(even / 40)


def test_targets_of_several_lengths_are_averaged_position_by_position() -> None:
    asked = draw_questions(MINI, ["mqar"], 6, 64).examples["mqar"]
    model = fresh()
    found = source_share(model, asked)
    position = 3
    writes = [each for each in asked if len(each.target) > position]
    assert 0 < len(writes) < 64
    even = [1 / (2 + len(each.prompt) + position) for each in writes]
    assert found.uniform[position] == pytest.approx(sum(even) / len(even))


@pytest.mark.parametrize("head", [0, 2])
def test_the_head_that_copies_looks_at_its_source(head: int) -> None:
    model = by_hand(head)
    asked = [Example("repeat_first", 1, at, f"{each}=", each) for at, each in enumerate("aBcDeF")]
    found = source_share(model, asked)
    assert found.share[0][head][0] == pytest.approx(1.0)
    (even,) = found.uniform
    assert even == pytest.approx(1 / 4)


def test_a_pattern_is_the_attention_on_one_prompt(tiny: Opened) -> None:
    found = pattern(tiny.hooked, "reverse", "abC=", "Cba", [(0, 1), (2, 2)])
    assert found.tokens == ("<begin>", "<reverse>", "a", "b", "C", "=", "C", "b", "a")
    assert found.start == 6
    (rows,) = make_rows(tiny.hooked, [Example("reverse", 3, at, "abC=", "Cba") for at in range(2)])
    weights = tiny.hooked.attention(rows.tokens)
    for kept, (layer, head) in zip(found.weights, found.heads, strict=True):
        for at, row in enumerate(kept):
            assert row == pytest.approx(weights[layer, 0, head, at, : at + 1].tolist(), abs=1e-4)
            assert sum(row) == pytest.approx(1, abs=1e-3)


def test_bad_input_is_refused_in_a_sentence(tiny: Opened) -> None:
    with pytest.raises(LgbenchError, match=r"There is no head 3.0: the model has layers 0 to 2, each"):
        analyze_attention(tiny, heads=[(3, 0)], lengths=[2], examples=16)
    with pytest.raises(LgbenchError, match="was not trained on 'mqar'"):
        analyze_attention(tiny, tasks=["mqar"])
    with pytest.raises(LgbenchError, match="'abc' is not a prompt of capitalize_reverse"):
        analyze_attention(tiny, prompts=["abc"])


def test_a_model_of_many_heads_needs_some_named(tiny: Opened) -> None:
    many = tiny._replace(hooked=fresh(layers=5, heads=16))
    with pytest.raises(LgbenchError, match="80 heads are too many for a picture, which takes 64"):
        analyze_attention(many, prompts=["ab="], lengths=[2], examples=16)
    assert not analyze_attention(many, tasks=["reverse"], lengths=[2], examples=16).patterns


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    given = ["analyze", "attention", "tiny:transfer", "--task", "reverse", "--length", "4,18", "--examples", "16"]
    more = ["--prompt", "abC=", "--head", "1.2,2.2", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, [*given, *more], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    record = read_analysis(tmp_path / "attention.json", AttentionRecord)
    assert [each.prompt for each in record.patterns] == ["abC="]
    frame = pd.read_csv(tmp_path / "attention-shares.csv")
    assert len(frame) == len(record.frame()) == 12 * (4 + 18)
    assert not frame.query("length == 18 and position >= 16")["inside"].any()
    assert {path.name for path in tmp_path.iterdir()} == {
        "attention.json",
        "attention-shares.csv",
        "attention-shares.svg",
        "attention-reverse-0.svg",
    }
    table = cast(Table, tabulate_attention(record)[0])
    assert [row[3] for row in table.rows] == [4, 18]
    assert table.rows[0][6] is None
    refused = CliRunner().invoke(app, [*given, "--head", "x"])
    assert refused.exit_code != 0
    assert "'x' is not a head. Write its layer and number" in str(refused.exception)
