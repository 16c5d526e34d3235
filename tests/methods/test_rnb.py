"""R&B: the balance formula, the gradients it is made of, the domains' queues, clusters, and whole runs."""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from torch.nn import functional as F  # noqa: N812

from lgbench.data.stream import TrainingData
from lgbench.data.suites import Cell
from lgbench.methods.balance import HeadGradients, balanced, gram, sorted_order
from lgbench.methods.domains import DomainQueues, by_task, cells_of, picked, stream_of_cells
from lgbench.methods.regroup import best_clusters
from lgbench.methods.rounds import output_layer
from lgbench.models.tokenizer import PUBLISHED
from lgbench.training.batching import IGNORED, make_batch
from lgbench.training.modules import build_module
from lgbench.training.rows import encode_row
from lgbench.training.steps import backward, packed_backward
from lgbench.util.errors import LgbenchError
from tests.methods.method_runs import assert_neutral, assert_resumes, method_plan
from tests.tiny_training import MINI, STRINGS

PARTS = STRINGS.mixture("transfer").parts


def test_the_formula_by_hand() -> None:
    """Algorithm 1 of the paper for two domains: G p = (2, 1), its norm is the root of 5."""
    products = torch.tensor([[3.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    found = balanced(products, torch.tensor([0.5, 0.5], dtype=torch.float64), strength=3.0, floor=0.0)
    one, two = math.exp(3 * 2 / math.sqrt(5)), math.exp(3 / math.sqrt(5))
    assert found.tolist() == pytest.approx([one / (one + two), two / (one + two)])


def test_equal_orthogonal_gradients_stay_uniform_and_floors_hold() -> None:
    target = torch.full((4,), 0.25)
    assert balanced(torch.eye(4), target, strength=3.0, floor=0.01).tolist() == pytest.approx([0.25] * 4)
    uneven = balanced(torch.diag(torch.tensor([100.0, 0, 0, 0])), target, strength=1000.0, floor=0.01)
    assert uneven.tolist() == pytest.approx([0.97, 0.01, 0.01, 0.01])
    assert balanced(torch.zeros(4, 4), target, strength=3.0, floor=0.0).tolist() == pytest.approx([0.25] * 4)
    assert balanced(torch.rand(4, 4), target, strength=0.0, floor=0.0).tolist() == pytest.approx([0.25] * 4)


def test_gram_is_of_the_mean_gradients() -> None:
    generator = np.random.default_rng(0)
    sums, counts = generator.normal(size=(3, 4, 5)), np.array([2.0, 7.0, 1.0])
    found = gram(torch.from_numpy(sums), torch.from_numpy(counts)).numpy()
    for one in range(3):
        for two in range(3):
            expected = (sums[one] * sums[two]).sum() / (counts[one] * counts[two])
            assert found[one, two] == pytest.approx(expected)


@pytest.mark.parametrize("packed", [True, False])
def test_gradients_of_domains_are_those_of_autograd(packed: bool) -> None:
    """Example by example: the gradient of its mean loss, by the output layer's weights."""
    settings = method_plan(None).settings
    module = build_module(settings, None, seed=0, device="cpu")
    rows = [encode_row(PUBLISHED, each) for each in islice(TrainingData(MINI, PARTS).block(0), 12)]
    domains = [number % 3 for number in range(12)]
    order = [domains[place] for place in sorted_order(rows, 3)]
    batch = make_batch(rows, 3)
    gradients = HeadGradients(output_layer(module), 3)
    gradients.begin()
    if packed:
        packed_backward(module, batch, precision="float32")  # type: ignore[arg-type]
    else:
        backward(module, batch, device="cpu", precision="float32")
    gradients.end(batch, order)
    expected = torch.zeros_like(gradients.sums)
    for row, domain in zip(rows, domains, strict=True):
        (chunk,) = make_batch([row], 1).chunks
        module.zero_grad()
        F.cross_entropy(module(chunk.inputs).flatten(0, 1), chunk.labels.flatten(), ignore_index=IGNORED).backward()  # type: ignore[no-untyped-call]
        expected[domain] += output_layer(module).weight.grad  # type: ignore[arg-type]
    torch.testing.assert_close(gradients.sums, expected, rtol=1e-4, atol=1e-6)
    assert gradients.counts.tolist() == [4, 4, 4]
    module(batch.chunks[0].inputs)
    assert not gradients._passes, "only what is asked for is kept"


def test_domains_hold_every_cell_once() -> None:
    for buckets in (1, 3, 8):
        domains = by_task(MINI, PARTS, buckets)
        assert sorted(cell for own in domains.values() for cell in own) == sorted(cells_of(MINI, PARTS))
        assert len(domains) == 3 * buckets
    assert "capitalize 7-11" in by_task(MINI, PARTS, 3)
    with pytest.raises(LgbenchError, match="trained on 8 lengths, which do not make 9 buckets"):
        by_task(MINI, PARTS, 9)


def test_queues_give_each_domains_examples_in_the_streams_order() -> None:
    domains = by_task(MINI, PARTS, 1)
    examples = [each for number in range(1) for each in TrainingData(MINI, PARTS).block(number)]
    expected = {name: [encode_row(PUBLISHED, each) for each in examples if each.task == name] for name in domains}
    queues = DomainQueues(stream_of_cells(MINI, PARTS, start=0), domains)
    names = list(domains)
    drawn: dict[str, list[object]] = {name: [] for name in names}
    for number in [0, 0, 2, 1, 2, 2, 0, 1] * 30:
        drawn[names[number]].append(queues.take(number))
    assert all(drawn[name] == expected[name][: len(drawn[name])] for name in names)
    later = DomainQueues(stream_of_cells(MINI, PARTS, start=0), domains, queues.taken)
    assert [later.take(number) for number in (1, 0, 2)] == [queues.take(number) for number in (1, 0, 2)]


def test_domains_are_drawn_by_their_shares() -> None:
    shares = [0.5, 0.2, 0.3]
    counts = np.bincount([each for step in range(100) for each in picked(MINI, PARTS, step, shares, 100)])
    assert np.abs(counts / 10_000 - shares).max() < 0.02
    assert picked(MINI, PARTS, 3, shares, 10) == picked(MINI, PARTS, 3, shares, 10)
    assert set(picked(MINI, PARTS, 0, [0.0, 1.0], 50)) == {1}


def test_clusters_of_three_blobs_are_the_blobs() -> None:
    pytest.importorskip("sklearn")
    generator = np.random.default_rng(0)
    centers = np.array([[0.0, 0], [10, 0], [0, 10]])
    vectors = np.concatenate([center + generator.normal(size=(10, 2)) for center in centers])
    labels, score = best_clusters(vectors)
    assert labels == [0] * 10 + [1] * 10 + [2] * 10
    assert score > 0.7


def test_no_rounds_are_the_plain_run(tmp_path: Path) -> None:
    assert_neutral("rnb", "round_steps=0", folder=tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        ("round_steps=4", "every=2", "buckets=2"),
        pytest.param(("round_steps=3", "every=1", "domains=clusters", "warm=5", "target=main"), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_a_run_resumes_and_takes_its_shares_down(options: tuple[str, ...], tmp_path: Path) -> None:
    if "domains=clusters" in options:
        pytest.importorskip("sklearn")
    record = assert_resumes(method_plan("rnb", *options), tmp_path)
    rounds = [each for each in record.measures if any(name.startswith("share/") for name in each.values)]
    assert [each.step for each in rounds] == ([4, 8, 12] if "round_steps=4" in options else [8, 11])
    for each in rounds:
        shares = [value for name, value in each.values.items() if name.startswith("share/")]
        assert sum(shares) == pytest.approx(1)
        assert min(shares) >= 0.01 - 1e-9
    assert record.source is None
    assert not record.data_changed
    assert record.plan.division == "open"
    if "domains=clusters" in options:
        found = next(each for each in record.measures if "clusters" in each.values)
        assert found.step == 5
        assert 0 < found.values["purity/task"] <= 1
        assert record.extra_cost is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("buckets=20",), "do not make 20 buckets: a domain would have no example"),
        (("floor=0.2",), "floor=0.2 of 'rnb'"),
        (("floor=0.1", "buckets=8"), "24 domains cannot each have a share of 0.1"),
        (("domains=cluster",), "domains=cluster of 'rnb'"),
        (("every=60",), "every=60 would take no gradient in a round of 50 steps"),
        (("domains=clusters",), "warm=300 leaves none of 12 steps"),
        (("domains=clusters", "warm=0"), "warm=0 leaves no steps"),
        (("strength=-1",), "strength=-1 of 'rnb'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(LgbenchError, match=message):
        method_plan("rnb", *options)


def test_cells_are_named() -> None:
    assert cells_of(MINI, PARTS)[0] == Cell("capitalize_reverse", 1)
