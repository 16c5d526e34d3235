"""What a training loop of one's own is given: the same examples, tokens and replies as lgbench's own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn
from torch.utils.data import DataLoader

import lgbench
from lgbench.data.stream import BLOCK_EXAMPLES, TrainingData
from lgbench.data.task import Example
from lgbench.models.tokenizer import END, PAD
from lgbench.python import loops
from lgbench.training.batching import batches
from lgbench.util.errors import LgbenchError
from tests.tiny_training import MINI

OF = ("mini-v1", "capitalize-reverse", "transfer")
Draw = Callable[..., list[Example]]


class Worker:
    def __init__(self, own: int, count: int) -> None:
        self.id, self.num_workers = own, count


@pytest.fixture
def draw(monkeypatch: pytest.MonkeyPatch) -> Draw:
    """The examples that one of several workers gives."""

    def drawn(own: int, count: int, **options: Any) -> list[Example]:
        with monkeypatch.context() as patch:
            patch.setattr(loops, "get_worker_info", lambda: Worker(own, count) if count else None)
            return list(lgbench.TrainingExamples(*OF, **options))

    return drawn


@pytest.mark.parametrize(("start", "examples"), [(0, 20_000), (5_000, 9_000), (8_192, 8_192), (3, 1), (0, 0)])
@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_any_number_of_workers_gives_the_same_examples(draw: Draw, start: int, examples: int, workers: int) -> None:
    expected = list(itertools.islice(lgbench.training_stream(*OF, start=start), examples))
    shares = [draw(own, workers, start=start, examples=examples) for own in range(workers)]
    assert sorted(itertools.chain(*shares), key=lambda each: each.index) == expected
    if workers == 1:
        assert shares[0] == draw(0, 0, start=start, examples=examples) == expected


def test_no_worker_draws_the_block_of_another(draw: Draw, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    block = TrainingData.block

    def counted(self: TrainingData, number: int) -> list[Example]:
        drawn.append(number)
        return block(self, number)

    monkeypatch.setattr(TrainingData, "block", counted)
    for own in range(3):
        draw(own, 3, examples=7 * BLOCK_EXAMPLES)
    assert drawn == [0, 3, 6, 1, 4, 2, 5]


def test_several_processes_share_the_blocks_too(draw: Draw) -> None:
    shares = [draw(own, 2, examples=40_000, shard=shard, of=3) for shard in range(3) for own in range(2)]
    together = sorted(each.index for share in shares for each in share)
    assert together == list(range(40_000))
    assert sorted(map(len, shares)) == [0, 40_000 - 4 * BLOCK_EXAMPLES, *[BLOCK_EXAMPLES] * 4]


@pytest.mark.slow
def test_a_loader_gives_the_same_batches_of_examples() -> None:
    data = lgbench.TrainingExamples(*OF, examples=2 * BLOCK_EXAMPLES)
    rows: list[list[tuple[list[int], list[int]]]] = []
    for workers in (0, 2):
        context = "spawn" if workers else None
        loader = DataLoader(
            data, batch_size=1024, collate_fn=lgbench.Collate(), num_workers=workers, multiprocessing_context=context
        )
        rows.append([row for batch in loader for row in unpadded(batch)])
    assert len(rows[0]) == 2 * BLOCK_EXAMPLES
    assert rows[0] != rows[1]
    assert sorted(rows[0]) == sorted(rows[1])


def unpadded(batch: Any) -> list[tuple[list[int], list[int]]]:
    """Inputs and answered labels of each row."""
    pairs = zip(batch.inputs.tolist(), batch.labels.tolist(), strict=True)
    return [([t for t in inputs if t not in (PAD, END)], [t for t in labels if t != -100]) for inputs, labels in pairs]


def test_a_collated_batch_asks_for_the_target_and_the_end() -> None:
    words = lgbench.load_tokenizer()
    examples = list(itertools.islice(lgbench.training_stream(*OF), 50))
    inputs, labels = lgbench.Collate()(examples)
    assert inputs.dtype == labels.dtype == torch.int64
    for example, row, wanted in zip(examples, inputs.tolist(), labels.tolist(), strict=True):
        prompt = words.encode_prompt(example.task, example.prompt)
        target = words.encode(example.target)
        whole = [*prompt, *target, END]
        assert row == (whole + [PAD] * len(row))[: len(row)]
        assert [token for token in wanted if token != -100] == [*target, END]
        assert wanted[len(prompt) - 1 : len(prompt) + len(target)] == [*target, END]
    assert lgbench.Collate(multiple=16)(examples).inputs.shape[1] % 16 == 0


def test_batches_in_order_are_those_that_lgbench_trains_on() -> None:
    parts = MINI.group(OF[1]).mixture(OF[2]).parts
    own = lgbench.training_batches(*OF, size=100, start=80)
    theirs = batches(MINI, parts, size=100, chunks=1, start=80)
    for ours, expected in itertools.islice(zip(own, theirs, strict=False), 5):
        assert torch.equal(ours.inputs, expected.chunks[0].inputs)
        assert torch.equal(ours.labels, expected.chunks[0].labels)
    first = next(iter(lgbench.training_batches(*OF, size=100, start=80)))
    stream = list(itertools.islice(lgbench.training_stream(*OF, start=8_000), 100))
    assert torch.equal(first.inputs, lgbench.Collate()(stream).inputs)


class Counter(nn.Module):
    """Writes the token after the last one, modulo the vocabulary, and so ends where it comes to the end token."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.scale = nn.Parameter(torch.ones(()))
        self.calls = 0

    def forward(self, tokens: Tensor) -> Tensor:
        self.calls += 1
        assert not self.training
        return self.scale * nn.functional.one_hot((tokens + 1) % self.size, self.size).float()


def test_greedy_decoding_writes_the_likeliest_token_until_the_end() -> None:
    module = Counter(10).train()
    assert lgbench.greedy_decode(module, torch.tensor([[5, 8], [3, 6], [4, 1]]), most=5) == [
        [9, 0, 1, END],
        [7, 8, 9, 0, 1],
        [END],
    ]
    assert module.training, "the module is left as it was"


@pytest.mark.parametrize(
    ("prompts", "most", "told"),
    [
        (torch.zeros(3, dtype=torch.int64), 4, r"shape \(3,\)"),
        (torch.zeros((1, 2)), 4, r"torch\.float32"),
        (torch.zeros((1, 0), dtype=torch.int64), 4, r"shape \(1, 0\)"),
        ([[1]], 4, "class 'list'"),
        (torch.zeros((1, 1), dtype=torch.int64), 0, "most=0 must be 1 or more"),
    ],
)
def test_greedy_decoding_refuses_what_it_cannot_use(prompts: Any, most: int, told: str) -> None:
    with pytest.raises(LgbenchError, match=told):
        lgbench.greedy_decode(Counter(10), prompts, most=most)


@pytest.mark.slow
def test_a_module_is_evaluated_as_its_checkpoint_is() -> None:
    bundled = lgbench.load_model("tiny:transfer")
    module = bundled.predictor._module  # type: ignore[union-attr]
    narrowed: dict[str, Any] = {"group": "capitalize-reverse", "lengths": 12, "limit": 16}
    ours = lgbench.evaluate(lgbench.wrap_module(module.train()), **narrowed)
    theirs = lgbench.evaluate(bundled, **narrowed)
    assert ours.replies_sha256 == theirs.replies_sha256
    assert 0 < ours.to_frame()["correct"].sum() < 64
    assert ours.system.model == "lgbench.models.transformer.Transformer"
    assert ours.system.parameters == theirs.system.parameters


def test_a_module_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LgbenchError, match="returned shape"):
        lgbench.wrap_module(nn.Sequential(nn.Embedding(200, 4), nn.Linear(4, 9)))
    with pytest.raises(LgbenchError, match=r"which Linear does not have\. Wrap it: evaluate\(lgbench\.wrap_module"):
        lgbench.evaluate(nn.Linear(2, 2))  # type: ignore[arg-type]
    with pytest.raises(LgbenchError, match=r"which function does not have\.$"):
        lgbench.evaluate(lambda prompts, task: prompts)  # type: ignore[arg-type]
    with pytest.raises(LgbenchError, match=r"takes a torch\.nn\.Module, not str"):
        lgbench.wrap_module("module")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: lgbench.TrainingExamples("mini-v1", "copy-mqr", "transfer"), "Did you mean 'copy-mqar'"),
        (lambda: lgbench.TrainingExamples("mini-v1", "copy-mqar", "open"), "'open' is not a trained arm"),
        (lambda: lgbench.TrainingExamples(*OF, start=-1), "start=-1"),
        (lambda: lgbench.TrainingExamples(*OF, shard=2, of=2), "shard=2 of 2"),
        (lambda: lgbench.TrainingExamples(*OF, stage=2), "has the stages 1 to 1; 2 was given"),
        (lambda: lgbench.training_batches(*OF, size=0), "size=0 must be 1 or more"),
        (lambda: lgbench.Collate("mini"), "'mini' is not a suite"),
        (lambda: lgbench.Collate(multiple=0), "multiple=0"),
        (lambda: lgbench.Collate()([]), "at least one example"),
        (lambda: lgbench.Collate()([Example("reverse", 1, 0, "é=", "é")]), "cannot read 'é'"),
    ],
)
def test_bad_arguments_are_sentences(make: Callable[[], Sequence[object]], told: str) -> None:
    with pytest.raises(LgbenchError, match=told):
        make()
