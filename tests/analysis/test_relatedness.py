"""Measures of how alike two tasks are, against their definitions written once more."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor
from typer.testing import CliRunner

from lgbench.analysis.ablation import Prepared
from lgbench.analysis.opening import Opened, open_model
from lgbench.analysis.questions import draw_questions
from lgbench.analysis.records import read_analysis
from lgbench.analysis.relatedness import analyze_relatedness, linear_cka
from lgbench.analysis.relatedness_record import RelatednessRecord
from lgbench.cli import app
from lgbench.data.suites import load_suite
from lgbench.data.task import Example
from lgbench.models.tokenizer import END, PUBLISHED
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")
FIRST, SECOND = "capitalize_reverse", "reverse"


@pytest.fixture(scope="module")
def tiny() -> Opened:
    return open_model("tiny:transfer", device="cpu")


@pytest.fixture(scope="module")
def record(tiny: Opened) -> RelatednessRecord:
    return analyze_relatedness(tiny, tasks=[FIRST, SECOND], lengths=[4], examples=16, step=0.5)


def loss(module: Any, examples: list[Example]) -> Tensor:
    """The mean of -log p over the tokens of the targets, one by one."""
    lost = []
    for each in examples:
        row = PUBLISHED.encode_prompt(each.task, each.prompt)
        for token in [*PUBLISHED.encode(each.target), END]:
            lost.append(-module(torch.tensor([row]))[0, -1].log_softmax(-1)[token])
            row.append(token)
    return cast(Tensor, torch.stack(lost).mean())


def test_gradients_and_affinity_by_a_plain_step(tiny: Opened, record: RelatednessRecord) -> None:
    asked = draw_questions(MINI, [FIRST, SECOND], 4, 16).examples
    halves = {task: (asked[task][::2], asked[task][1::2]) for task in (FIRST, SECOND)}

    def gradient(examples: list[Example]) -> Tensor:
        module = open_model("tiny:transfer", device="cpu").hooked.module
        loss(module, examples).backward()  # type: ignore[no-untyped-call]
        parts = [each.grad.flatten().double() for each in module.parameters() if each.grad is not None]
        return cast(Tensor, torch.cat(parts))

    found = {task: [gradient(half) for half in halves[task]] for task in halves}

    def cosine(first: Tensor, second: Tensor) -> float:
        return float(first @ second / first.norm() / second.norm())

    (relation,) = record.relations
    across = [cosine(found[FIRST][half], found[SECOND][1 - half]) for half in (0, 1)]
    assert relation.gradient_cosine == pytest.approx(sum(across) / 2, abs=1e-3)
    within = [cosine(*found[task]) for task in (FIRST, SECOND)]
    assert relation.gradient_ceiling == pytest.approx(sum(within) / 2, abs=1e-3)
    for taught, tested, value in ((FIRST, SECOND, relation.affinity), (SECOND, FIRST, relation.affinity_back)):
        module = open_model("tiny:transfer", device="cpu").hooked.module
        before = loss(module, halves[tested][1]).item()
        loss(module, halves[taught][0]).backward()  # type: ignore[no-untyped-call]
        torch.optim.SGD(module.parameters(), lr=0.5).step()
        assert value == pytest.approx(1 - loss(module, halves[tested][1]).item() / before, abs=2e-3)


def test_an_unmixed_tag_is_the_task(tiny: Opened, record: RelatednessRecord) -> None:
    asked = draw_questions(MINI, [FIRST, SECOND], 4, 16).examples
    none = torch.zeros(1, 3, 4, dtype=torch.bool)
    (relation,) = record.relations
    mixtures = relation.mixtures
    assert mixtures is not None
    assert len(mixtures) == 11
    for mixed, task in ((mixtures[0], FIRST), (mixtures[-1], SECOND)):
        scores = Prepared(tiny.hooked, asked[task]).ablated(none, "zero")
        right, logprob = (
            (mixed.first_right, mixed.first_logprob) if task == FIRST else (mixed.second_right, mixed.second_logprob)
        )
        assert right == pytest.approx(float(scores.exact.double().mean()))
        assert logprob == pytest.approx(float(scores.mean_logprob.mean()), abs=1e-5)
    assert mixtures[0].second_right < 0.5 < mixtures[-1].second_right
    assert relation.least_mixed == min(each.either_right for each in mixtures)


def test_alignment_by_its_definition() -> None:
    torch.manual_seed(0)
    first, second = (torch.randn(50, 6, dtype=torch.float64) for _ in range(2))
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    assert linear_cka(first, 3 * first @ rotation + 1) == pytest.approx(1)
    centring = torch.eye(50, dtype=torch.float64) - 1 / 50
    k, h = (centring @ each @ each.T @ centring for each in (first, second))
    hsic = float((k * h).sum() / (k.norm() * h.norm()))
    assert linear_cka(first, second) == pytest.approx(hsic)


def test_bad_input_is_refused(tiny: Opened) -> None:
    with pytest.raises(LgbenchError, match="Two tasks or more are compared, and 'reverse' is one"):
        analyze_relatedness(tiny, tasks=["reverse"])
    with pytest.raises(LgbenchError, match="at lengths that all are trained to, up to 8, not at 10"):
        analyze_relatedness(tiny, lengths=[4, 10])
    with pytest.raises(LgbenchError, match="was not trained on 'mqar'"):
        analyze_relatedness(tiny, tasks=["reverse", "mqar"])


def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    given = ["analyze", "relatedness", "tiny:control", "--length", "4", "--examples", "16", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, given, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = read_analysis(tmp_path / "relatedness.json", RelatednessRecord)
    assert [(each.first, each.second) for each in found.relations] == [("capitalize_reverse", "repeat_first")]
    assert len(cast(Any, found.relations[0].alignment)) == 3
    assert len(pd.read_csv(tmp_path / "relatedness-mixtures.csv")) == 11
    assert (tmp_path / "relatedness-tags.svg").is_file()
