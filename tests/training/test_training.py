"""The training protocol: settings, batches, the gradient, the loop and its record."""

from __future__ import annotations

import itertools
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from lgbench.data.cells import draw_cell
from lgbench.data.stream import training_stream
from lgbench.models.checkpoint_predictor import CheckpointPredictor
from lgbench.models.devices import choose_device, peak_flops
from lgbench.models.tokenizer import END, PUBLISHED
from lgbench.training import trainer
from lgbench.training.batching import IGNORED, batches
from lgbench.training.curve import DevSet
from lgbench.training.modules import build_module
from lgbench.training.points import zone_accuracies
from lgbench.training.record import CurvePoint, read_training_record
from lgbench.training.settings import TrainingSettings, learning_rate, preset_settings
from lgbench.training.spec import Recipe
from lgbench.training.state import save_state
from lgbench.training.steps import backward, make_optimizer, take_step
from lgbench.training.trainer import train
from lgbench.util.errors import LgbenchError
from tests.tiny_training import DOMAIN, MINI, STRINGS, tiny_plan, weights


def test_settings_are_typed_and_named() -> None:
    settings = preset_settings("mini", DOMAIN, ["steps=7", "learning_rate=2e-4", "position=nope", "compile=true"])
    assert (settings.steps, settings.learning_rate, settings.position, settings.compile) == (7, 2e-4, "nope", True)
    for change, message in (
        ("stepz=7", "Did you mean 'steps'"),
        ("steps", "--set name=value"),
        ("steps=many", r"--set steps=many: .*The preset has steps="),
        ("steps=0", "steps=0"),
        ("learning_rate=nan", "learning_rate=nan"),
        ("position=learned", "'rope', 'half-rope', 'alibi' or 'nope'"),
        ("heads=3", "Choose a multiple of 6"),
        ("warmup=0.7", "together at most 1"),
    ):
        with pytest.raises(LgbenchError, match=message):
            preset_settings("mini", DOMAIN, [change])
    with pytest.raises(LgbenchError, match="Valid: tuned, mini, paper"):
        preset_settings("large", DOMAIN)


def test_the_learning_rate_warms_up_holds_and_falls() -> None:
    settings = preset_settings("mini", DOMAIN, ["steps=100", "warmup=0.1", "decay=0.4", "learning_rate=1.0"])
    rates = [learning_rate(settings, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[10:60] == [1.0] * 50
    assert all(before > after > 0 for before, after in itertools.pairwise(rates[59:]))
    assert rates[79] == pytest.approx(0.5, abs=0.03)


def rows_of(batch: list[tuple[Tensor, Tensor]]) -> list[tuple[str, str]]:
    """(everything before the target, target) of each row, read back from the tensors that training sees."""
    found = []
    for inputs, labels in batch:
        for row, wanted in zip(inputs.tolist(), labels.tolist(), strict=True):
            answered = [position for position, label in enumerate(wanted) if label != IGNORED]
            assert answered == list(range(answered[0], answered[-1] + 1)), "the target is one piece"
            target = [wanted[position] for position in answered]
            assert target[-1] == END
            assert row[answered[0] + 1 : answered[-1] + 1] == target[:-1], "inputs are labels one later"
            found.append((PUBLISHED.decode(row[: answered[0] + 1]), PUBLISHED.decode(target[:-1])))
    return found


@pytest.mark.parametrize("chunks", [1, 3])
def test_batches_are_the_stream_whatever_their_parts(chunks: int) -> None:
    stream = training_stream(MINI, STRINGS.name, "transfer")
    made = batches(MINI, STRINGS.mixture("transfer").parts, size=50, chunks=chunks)
    for _ in range(2):
        expected = [next(stream) for _ in range(50)]
        batch = next(made)
        rows = rows_of([(chunk.inputs, chunk.labels) for chunk in batch.chunks])
        assert sorted(rows) == sorted((f"<begin><{each.task}>{each.prompt}", each.target) for each in expected)
        assert batch.target_tokens == sum(len(each.target) + 1 for each in expected)
        assert batch.tokens == batch.target_tokens + sum(len(each.prompt) + 2 for each in expected)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_start_anywhere_with_any_number_of_workers(workers: int) -> None:
    arm = STRINGS.mixture("main_only").parts
    whole = itertools.islice(batches(MINI, arm, size=3000, chunks=2), 2, 4)  # over the end of the first block of 8192
    later = itertools.islice(batches(MINI, arm, size=3000, chunks=2, start=2, workers=workers), 2)
    for one, two in zip(whole, later, strict=True):
        assert (one.tokens, one.target_tokens, len(one.chunks)) == (two.tokens, two.target_tokens, 2)
        tensors = zip(itertools.chain(*one.chunks), itertools.chain(*two.chunks), strict=True)
        assert all(torch.equal(expected, found) for expected, found in tensors)


@pytest.mark.parametrize(("device", "pinned"), [("cpu", 0), ("cuda", 2 * 2), ("cuda:1", 2 * 2)])
def test_batches_for_cuda_lie_in_pinned_memory(monkeypatch: pytest.MonkeyPatch, device: str, pinned: int) -> None:
    """Inputs and labels of both parts; only so does a copy to the device not hold up the step."""
    asked: list[Tensor] = []

    def pin(tensor: Tensor) -> Tensor:
        asked.append(tensor)
        return tensor

    monkeypatch.setattr(Tensor, "pin_memory", pin)
    parts = STRINGS.mixture("transfer").parts
    batch = next(batches(MINI, parts, size=8, chunks=2, pinned=trainer.is_pinned(device)))
    assert len(asked) == pinned
    assert {id(each) for each in asked} <= {id(each) for chunk in batch.chunks for each in chunk}


def test_the_gradient_does_not_depend_on_the_parts_of_a_batch() -> None:
    gradients = []
    for chunks, multiple in ((1, 1), (4, 1), (2, 16)):
        module = build_module(tiny_plan().settings, None, seed=0, device="cpu")
        made = batches(MINI, STRINGS.mixture("transfer").parts, size=20, chunks=chunks, multiple=multiple)
        loss = backward(module, next(made), device="cpu", precision="float32")
        gradients.append([loss, *(parameter.grad for parameter in module.parameters())])
    for other in gradients[1:]:
        torch.testing.assert_close(other, gradients[0])


def test_one_forward_pass_counts_what_decoding_gets_right() -> None:
    class CopiesShortOnes(nn.Module):
        """Repeats the prompt's string, and goes wrong at its seventh character."""

        most_rows = 0

        def forward(self, tokens: Tensor) -> Tensor:
            self.most_rows = max(self.most_rows, len(tokens))
            logits = torch.zeros(*tokens.shape, len(PUBLISHED))
            equals = PUBLISHED.tokens.index("=")
            for row, numbers in enumerate(tokens.tolist()):
                if equals not in numbers:
                    continue
                end = numbers.index(equals)
                for position in range(end, len(numbers)):
                    source = 2 + position - end
                    right = numbers[source] if source < end else END
                    logits[row, position, right if position - end < 6 or source >= end else 0] = 1
            return logits

    group = MINI.group("copy-mqar")
    dev_set, module = DevSet(MINI, group, ["string_copy"], device="cpu"), CopiesShortOnes()
    counts = dev_set.correct(module, at_once=24)
    assert module.most_rows == 24
    assert counts == dev_set.correct(module, at_once=100)
    assert module.most_rows == 64
    assert counts == {"string_copy": {length: 64 if length <= 6 else 0 for length in group.grid}}
    predictor = CheckpointPredictor(CopiesShortOnes())
    for length in (6, 8):
        dev = draw_cell(MINI, "string_copy", length, split="dev")[:5]
        replies = predictor.predict([example.prompt for example in dev], "string_copy")
        assert all((reply == each.target) == (length == 6) for reply, each in zip(replies, dev, strict=True))
    plan = Recipe(MINI).plan("copy-mqar", "main_only", 0)
    zones = zone_accuracies(plan, CurvePoint(step=1, loss=0.0, correct=counts))
    assert zones == {"in_distribution": 0.75, "transfer": 0.0, "beyond": 0.0}


def test_training_learns_and_records(tmp_path: Path) -> None:
    reports: list[trainer.Progress] = []
    plan = tiny_plan("steps=60", "batch=32", "learning_rate=1e-2", arm="main_only")
    record = train(plan, tmp_path / "run", report=reports.append)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoint", "training.json"]
    assert read_training_record(tmp_path / "run") == record
    assert record.finished
    assert [point.step for point in record.curve] == list(range(5, 61, 5))
    assert record.curve[-1].loss < math.log(52) < record.curve[0].loss, "better than guessing among the letters"
    assert record.plan.parts[0].max_length == 8
    examples = training_stream(MINI, STRINGS.name, "main_only")
    assert record.target_tokens == sum(len(next(examples).target) + 1 for _ in range(60 * 32))
    assert reports[-1].step == 60
    assert reports[-1].point == record.curve[-1]


def test_the_seconds_of_a_run_are_those_of_its_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0

    def taking(seconds: int, act: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any, **options: Any) -> Any:
            nonlocal now
            now += seconds
            return act(*arguments, **options)

        return slow

    monkeypatch.setattr("lgbench.training.throughput.time", SimpleNamespace(perf_counter=lambda: now))
    monkeypatch.setattr("lgbench.training.trainer.take_step", taking(1, take_step))
    monkeypatch.setattr("lgbench.training.trainer.save_state", taking(100, save_state))
    monkeypatch.setattr(DevSet, "correct", taking(100, DevSet.correct))
    reports: list[trainer.Progress] = []
    assert train(tiny_plan(), tmp_path / "run", report=reports.append).seconds == 12
    assert {progress.examples_per_second for progress in reports} == {64}


def test_the_seed_sets_the_weights_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[Tensor]] = {}
    take = take_step

    for earlier, (name, seed) in enumerate((("a", 1), ("b", 1), ("c", 2))):
        tensors = seen.setdefault(name, [])

        def step(*arguments: Any, into: list[Tensor] = tensors, **options: Any) -> Tensor:
            into += itertools.chain(*arguments[2].chunks)
            return take(*arguments, **options)

        monkeypatch.setattr(trainer, "take_step", step)
        torch.manual_seed(earlier)  # whatever the process did before
        train(tiny_plan(seed=seed), tmp_path / name)
    first, same, other = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["embedding.weight"], other["embedding.weight"])
    assert len(seen["a"]) == 12 * 8 * 2, "steps, parts, inputs and labels"
    for name in "bc":
        assert all(map(torch.equal, seen["a"], seen[name]))
        assert len(seen[name]) == len(seen["a"])


@pytest.mark.nightly
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile wants a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of PyTorch's own old parts
def test_a_compiled_module_takes_batches_of_several_shapes(tmp_path: Path) -> None:
    """Its kernels sum in another order, so that the weights are close, not equal."""
    changes = ("batch=64", "length_chunks=2", "steps=3")
    made = batches(MINI, STRINGS.mixture("transfer").parts, size=64, chunks=2, multiple=32)
    assert len({chunk.inputs.shape for batch in itertools.islice(made, 3) for chunk in batch.chunks}) > 1
    train(tiny_plan(*changes), tmp_path / "plain")
    train(tiny_plan(*changes, "compile=true"), tmp_path / "compiled")
    plain, compiled = weights(tmp_path / "plain"), weights(tmp_path / "compiled")
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], atol=2e-4, rtol=0)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    class Diverging(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores = nn.Embedding(len(PUBLISHED), len(PUBLISHED))
            self.calls = 0

        def forward(self, tokens: Tensor) -> Tensor:
            self.calls += self.training
            scores: Tensor = self.scores(tokens)
            return scores * (float("nan") if self.calls > 12 else 1.0)

    plan = tiny_plan("length_chunks=1").model_copy(update={"model": "mine.py:build"})
    plan = plan.model_copy(update={"settings": plan.settings.model_copy(update={"steps": 40})})
    with pytest.raises(LgbenchError, match=r"no longer a number by step 15\. The state after step 10 is in"):
        train(plan, tmp_path, build=lambda size: Diverging())
    assert read_training_record(tmp_path).steps_done == 10


def test_the_operations_of_a_run_are_those_that_pytorch_counts(tmp_path: Path) -> None:
    """At most it counts attention's products too: 12 for each layer, unit of width and pair of tokens."""
    plan = tiny_plan("batch=1", "steps=2", "evaluate_every=2", "length_chunks=1", arm="main_only")
    record = train(plan, tmp_path)
    module = build_module(plan.settings, None, seed=0, device="cpu")
    made = list(itertools.islice(batches(MINI, plan.mixture.parts, size=1, chunks=1), 2))
    with FlopCounterMode(display=False) as counter:
        for batch in made:
            backward(module, batch, device="cpu", precision="float32")
    lengths = [batch.chunks[0].inputs.shape[1] for batch in made]
    norms = sum(each.numel() for each in module.parameters() if each.ndim < 2)
    attention = sum(12 * plan.settings.width * length**2 for length in lengths)
    assert record.tokens == sum(lengths) + len(lengths), "a row's last token is a label alone"
    assert record.flops is not None
    expected = (record.flops // (6 * record.tokens) - norms) * 6 * sum(lengths)
    assert expected <= counter.get_total_flops() <= expected + attention


def test_the_gradient_is_clipped_and_only_matrices_decay() -> None:
    settings = tiny_plan("gradient_clip=0.01").settings
    module = build_module(settings, None, seed=0, device="cpu")
    optimizer = make_optimizer(module, settings)
    ((adamw, _),) = optimizer._parts
    decays = {id(each): group["weight_decay"] for group in adamw.param_groups for each in group["params"]}
    assert {(each.ndim, decays[id(each)]) for each in module.parameters()} == {(1, 0.0), (2, settings.weight_decay)}

    norms: list[float] = []

    def measure(*_: object) -> None:
        norms.append(float(torch.cat([each.grad.flatten() for each in module.parameters()]).norm()))  # type: ignore[union-attr]

    adamw.register_step_pre_hook(measure)
    batch = next(batches(MINI, STRINGS.mixture("transfer").parts, size=8, chunks=1))
    take_step(module, optimizer, batch, settings, step=0, device="cpu", forward=module)
    assert norms == [pytest.approx(0.01, rel=1e-3)]


def test_the_peak_of_a_device_is_known_by_its_name() -> None:
    assert peak_flops("NVIDIA H100 80GB HBM3") == 989e12
    assert peak_flops("NVIDIA H100 PCIe") == 756e12
    assert peak_flops("cpu") is None


def test_devices_are_checked() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(LgbenchError, match="'gpu' is not a device"):
        choose_device("gpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == "cpu"
        with pytest.raises(
            LgbenchError, match=r"^device=cuda: .* sees no CUDA device here\. Use device=auto or device=cpu,"
        ):
            choose_device("cuda")


def test_training_records_are_json_that_reads_back(tmp_path: Path) -> None:
    train(tiny_plan(), tmp_path)
    text = json.loads((tmp_path / "training.json").read_text("utf-8"))
    assert TrainingSettings.model_validate(text["plan"]["settings"]) == tiny_plan().settings
    assert "/" not in json.dumps(text["machine"])
