"""Tests of reuse: their null distributions are calibrated, and a model built for it shares what it should."""

from __future__ import annotations

from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from scipy import stats
from typer.testing import CliRunner

from lgbench.analysis.hooked import HookedTransformer
from lgbench.analysis.nulls import (
    by_rank,
    correlation_test,
    matched_sets,
    overlap_p,
    p_value,
    permuted,
    rank_correlation,
    top_heads,
)
from lgbench.analysis.opening import Opened, open_model
from lgbench.analysis.questions import draw_questions
from lgbench.analysis.records import ModelSource, read_analysis
from lgbench.analysis.reuse import Lab, analyze_reuse
from lgbench.analysis.reuse_record import OtherTask, ReuseRecord
from lgbench.analysis.verdicts import CAUSE, tabulate_reuse, verdict
from lgbench.cli import app
from lgbench.data.suites import load_suite
from lgbench.models.architecture import Architecture
from lgbench.models.tokenizer import PUBLISHED
from lgbench.models.transformer import Transformer
from lgbench.util.errors import LgbenchError

MINI = load_suite("mini-v1")


def uniform_enough(values: list[float]) -> bool:
    """No sign against uniform p-values, at a level that a right test passes in all but one of 10 000 seeds."""
    return bool(stats.kstest(values, "uniform").pvalue > 1e-4)


def test_matched_sets_are_all_with_the_same_number_in_each_layer() -> None:
    rng = np.random.default_rng(0)
    chosen = np.array([[True, True, False, False], [False, False, False, False], [False, False, True, False]])
    found = matched_sets(chosen, rng)
    assert found.complete
    wanted = {
        flags
        for flags in product([False, True], repeat=12)
        if np.array(flags).reshape(3, 4).sum(axis=1).tolist() == [2, 0, 1]
    }
    assert {tuple(mask.ravel().tolist()) for mask in found.masks} == wanted
    assert len(found.masks) == comb(4, 2) * 4
    few = matched_sets(chosen, rng, most=20)
    assert not few.complete
    assert few.masks.shape == (20, 3, 4)
    assert (few.masks.sum(axis=2) == [2, 0, 1]).all()
    assert len(np.unique(few.masks.reshape(20, -1), axis=0)) > 5


@pytest.mark.parametrize("most", [300, 60])
def test_p_of_a_set_is_uniform_where_the_labels_are_shuffled(most: int) -> None:
    """What sets cost may differ by layer: only the labels within a layer are exchanged."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(400):
        cost = rng.normal(size=(3, 6)) + np.array([[5.0], [1.0], [0.0]])
        chosen = permuted(np.arange(6)[None, :].repeat(3, 0) < np.array([[2], [1], [1]]), rng)
        sets = matched_sets(chosen, rng, most)
        null = (cost * sets.masks).sum(axis=(1, 2))
        found.append(p_value(float((cost * chosen).sum()), null, complete=sets.complete))
    steps = comb(6, 2) * 36 if most == 300 else most + 1
    assert uniform_enough([p - rng.random() / steps for p in found])  # p is one of so many steps
    assert min(found) > 0


@pytest.mark.nightly
def test_p_of_a_correlation_is_uniform_where_the_labels_are_shuffled() -> None:
    rng = np.random.default_rng(2)
    layers = np.array([[5.0], [1.0], [0.0]])  # both maps agree on the layers, which proves nothing of the heads
    found = []
    for _ in range(300):
        first, second = (rng.normal(size=(3, 4)) + layers for _ in range(2))
        found.append(correlation_test(first, second, rng, permutations=99).p)
    assert uniform_enough([p - rng.random() / 100 for p in found])


def test_a_correlation_that_is_there_is_found() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=(3, 4))
    found = correlation_test(first, first + 0.01 * rng.normal(size=(3, 4)), rng)
    assert found.p < 0.01
    assert found.rho > 0.95


def test_rank_correlation_is_scipys() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 4, (2, 3, 4)).astype(float)  # with ties
    assert rank_correlation(first, second) == pytest.approx(stats.spearmanr(first.ravel(), second.ravel()).statistic)
    assert rank_correlation(first, np.zeros((3, 4))) == 0.0


def test_overlap_by_counting() -> None:
    """Of all pairs of sets of 3 of 6 heads."""
    sets = [set(each) for each in product(range(6), repeat=3) if len(set(each)) == 3]
    shared = [len(one & other) for one in sets for other in sets]
    for least in range(4):
        assert overlap_p(least, 3, 6) == pytest.approx(np.mean([each >= least for each in shared]))


def test_the_most_important_heads() -> None:
    importance = np.array([[0.1, 0.9], [0.5, 0.2]])
    assert by_rank(importance).tolist() == [[3, 0], [1, 2]]
    assert top_heads(importance, 2).tolist() == [[False, True], [True, False]]


def opened(*, shared: bool) -> Opened:
    """A random model; where `shared`, it cannot see the task's tag, so that both tasks are one to it."""
    torch.manual_seed(5)
    shape = Architecture(layers=2, heads=2, width=8, hidden=12, theta=100.0, position="rope", head_size=6)
    module = Transformer(shape, len(PUBLISHED), initial_std=0.4)
    if shared:
        with torch.no_grad():
            tags = [PUBLISHED.task_tag(task) for task in ("capitalize_reverse", "reverse")]
            module.embedding.weight[tags] = 0.1
    tasks = {"capitalize_reverse": 8, "reverse": 16}
    source = ModelSource(
        model="made",
        weights_sha256="0" * 64,
        group="capitalize-reverse",
        arm="transfer",
        seed=0,
        steps=1,
        layers=2,
        heads=2,
        tasks=tasks,
    )
    return Opened(HookedTransformer(module, PUBLISHED), MINI, source)


def lab(model: Opened, length: int = 5) -> Lab:
    questions = {length: draw_questions(MINI, ["capitalize_reverse", "reverse"], length, 8)}
    return Lab(model, questions, "resample")


def test_interchange_with_the_same_run_changes_nothing() -> None:
    masks = np.random.default_rng(6).random((5, 2, 2)) < 0.5
    found = lab(opened(shared=False)).lost("reverse", [5], masks, donor="reverse")
    assert np.abs(found).max() < 1e-6


def test_interchange_over_the_prompt_changes_nothing_where_the_tag_is_not_seen() -> None:
    """Behind the prompt the two targets differ, and so may the outputs: the first token of the target tells."""
    masks = np.ones((1, 2, 2), dtype=np.bool_)
    for shared in (True, False):
        measured = lab(opened(shared=shared))
        prepared = measured.prepared("capitalize_reverse", 5)
        (rows, outputs), (_, theirs) = prepared.batches[0], measured.prepared("reverse", 5).batches[0]
        same = torch.allclose(outputs[:, :, : rows.start], theirs[:, :, : rows.start], atol=1e-6)
        assert same == shared
        assert np.isfinite(measured.lost("capitalize_reverse", [5], masks, donor="reverse")).all()


def test_sets_are_measured_once_and_put_back_in_order() -> None:
    measured = lab(opened(shared=False))
    masks = np.random.default_rng(7).random((12, 2, 2)) < 0.5
    together = measured.lost("reverse", [5], masks)
    apart = [measured.lost("reverse", [5], mask[None])[0] for mask in masks]
    np.testing.assert_allclose(together, apart, atol=1e-6)
    assert measured.lost("reverse", [5], np.zeros((1, 2, 2), dtype=np.bool_))[0] == 0


@pytest.fixture(scope="module")
def record() -> ReuseRecord:
    return analyze_reuse(open_model("tiny:transfer", device="cpu"), others=["reverse"], lengths=[6, 10], examples=16)


@pytest.mark.slow
def test_the_bundled_model_shares_its_heads(record: ReuseRecord) -> None:
    """A pilot with other code found that heads 0.2, 0.3, 1.1 and 1.2 carry everything."""
    (each,) = record.others
    assert record.primary == (6,)
    assert record.size == 3
    assert set(each.heads) <= {(0, 2), (0, 3), (1, 1), (1, 2)}
    assert each.importance.rho > 0.5
    assert each.importance.ceiling > 0.5
    assert each.importance.floor is None
    damage = each.find("transfer")
    assert damage is not None
    assert damage.complete
    assert max(damage.null) >= damage.lost == pytest.approx(damage.own, rel=0.5)
    assert damage.least < damage.lost
    assert each.sufficiency.area <= 1.01
    assert each.interchange is not None
    assert each.interchange.lost < each.interchange.resampled


@pytest.mark.slow
def test_tables_and_verdict(record: ReuseRecord) -> None:
    parts = tabulate_reuse(record)
    assert parts[-1] == CAUSE
    assert len(record.frame()) == 6
    again = ReuseRecord.model_validate_json(record.model_dump_json())
    assert again == record


@pytest.mark.slow
@pytest.mark.parametrize(
    ("null", "p", "sentence"),
    [
        (24, 0.04, "needs the heads of reverse in the transfer zone more than other heads of the same layers"),
        (24, 0.4, "It is not shown that capitalize_reverse needs the heads of reverse"),
        (6, 0.17, "too few for a test"),
    ],
)
def test_a_verdict_claims_no_more_than_the_test_shows(record: ReuseRecord, null: int, p: float, sentence: str) -> None:
    (each,) = record.others
    damage = each.necessity[1].model_copy(update={"null": (0.1,) * null, "p": p})
    assert damage.zone == "transfer"
    changed: OtherTask = each.model_copy(update={"necessity": (each.necessity[0], damage), "interchange": None})
    text = verdict(record, changed)
    assert sentence in text
    assert "different prompts" in text


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("tiny:main_only", {}, "was trained on 'capitalize_reverse' alone"),
        ("tiny:transfer", {"others": ["mqar"]}, "was not trained on 'mqar'"),
        ("tiny:transfer", {"unrelated": "repeat_first"}, "was not trained on 'repeat_first'"),
        ("tiny:transfer", {"lengths": [20], "examples": 16}, "not learned"),
    ],
)
def test_what_cannot_be_tested(model: str, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(LgbenchError, match=sentence):
        analyze_reuse(open_model(model, device="cpu"), **options)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["analyze", "reuse", "tiny:control", "--examples", "16", "--length", "4,10", "-o", str(tmp_path)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "capitalize_reverse with the heads of repeat_first" in done.stdout
    assert "causes transfer" in done.stdout
    record = read_analysis(tmp_path / "reuse.json", ReuseRecord)
    assert (record.main, record.tasks) == ("capitalize_reverse", ("repeat_first",))
    assert {path.name for path in tmp_path.iterdir()} == {"reuse.json", "reuse-tests.csv", "reuse.svg"}
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "tests of repeat_first" in done.stderr
    assert "tests of repeat_first" not in again.stderr
    assert again.stdout == done.stdout
    other = CliRunner().invoke(app, [*arguments, "--ablation", "zero"])
    assert "holds another analysis: its ablation is resample, not zero" in str(other.exception)
