"""The packed training step against the plain one, whose forward defines the model."""

import functools
import itertools

import pytest
import torch
from torch import Tensor, nn

from lgbench.data.suites import load_suite
from lgbench.models.tokenizer import PUBLISHED
from lgbench.models.transformer import Transformer
from lgbench.training.batching import Batch, batches
from lgbench.training.modules import build_module
from lgbench.training.settings import TrainingSettings, preset_settings
from lgbench.training.spec import Recipe
from lgbench.training.steps import backward, make_optimizer, packed_backward, take_step

MINI = load_suite("mini-v1")
STRINGS = MINI.group("capitalize-reverse")


def settings_of(*changes: str) -> TrainingSettings:
    small = ("layers=2", "heads=2", "width=16", "hidden=24", "initial_std=0.3", "precision=float32", "packed=true")
    return preset_settings("mini", MINI.domain(STRINGS), (*small, *changes))


def module_of(settings: TrainingSettings) -> Transformer:
    tag = PUBLISHED.task_tag(STRINGS.main) if settings.architecture.needs_main_tag else None
    module = build_module(settings, None, seed=0, device="cpu", main_tag=tag)
    assert isinstance(module, Transformer)
    for parameter in module.parameters():  # scales too, which are one at first
        nn.init.normal_(parameter, mean=float(parameter.ndim < 2), std=0.3)
    return module


@functools.cache
def batch_of(chunks: int, size: int = 20, group: str = "capitalize-reverse") -> Batch:
    return next(batches(MINI, MINI.group(group).mixture("transfer").parts, size=size, chunks=chunks))


def loss_and_gradient(loss: Tensor, module: nn.Module) -> list[Tensor | None]:
    return [loss, *(parameter.grad for parameter in module.parameters())]


@pytest.mark.parametrize("chunks", [1, 3, 20])
@pytest.mark.parametrize(
    "change",
    [
        *("heads=1", "heads=2", "heads=8", "layers=1", "theta=100", "head_size=6", "weights=ternary"),
        *("position=nope", "position=alibi", "position=half-rope"),
        "task_heads=disjoint task_units=half",
        "task_heads=half task_units=disjoint",
    ],
)
@pytest.mark.parametrize("group", ["capitalize-reverse", "maze-trace"])
def test_loss_and_every_gradient_are_those_of_the_plain_step_on_the_whole_batch(
    chunks: int, change: str, group: str
) -> None:
    settings = settings_of(*change.split())
    plain, packed = (module_of(settings).double() for _ in range(2))
    packed.load_state_dict(plain.state_dict())
    expected = loss_and_gradient(_double_loss(plain, batch_of(1, group=group)), plain)
    found = loss_and_gradient(packed_backward(packed, batch_of(chunks, group=group), precision="float32"), packed)
    assert all(each is not None and each.abs().max() > 1e-6 for each in expected)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


def _double_loss(module: nn.Module, batch: Batch) -> Tensor:
    """The mean of -log p over the labels, written as its definition, backwards too."""
    total = torch.zeros((), dtype=torch.float64)
    for inputs, labels in batch.chunks:
        for row, wanted in zip(module(inputs), labels, strict=True):
            shares = row.softmax(dim=-1)
            for position in (wanted >= 0).nonzero().flatten().tolist():
                total = total - shares[position, wanted[position]].log()
    loss = total / batch.target_tokens
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def test_with_bfloat16_products_it_is_as_near_to_the_exact_gradient_as_the_plain_step() -> None:
    settings = settings_of()
    exact = module_of(settings).double()
    _double_loss(exact, batch_of(1))
    wanted = torch.cat([each.grad.flatten() for each in exact.parameters() if each.grad is not None])
    errors = []
    for packed in (False, True):
        module = module_of(settings)
        module.load_state_dict(exact.state_dict())
        if packed:
            packed_backward(module, batch_of(4), precision="bfloat16")
        else:
            backward(module, batch_of(4), device="cpu", precision="bfloat16")
        found = torch.cat([each.grad.flatten() for each in module.parameters() if each.grad is not None])
        errors.append(float((found.double() - wanted).norm() / wanted.norm()))
    plain, packed_error = errors
    assert 1e-5 < plain < 0.1, "it was bfloat16"
    assert packed_error < 1.5 * plain


def test_gradients_of_a_step_are_added_to_those_that_there_are() -> None:
    module, batch = module_of(settings_of()), batch_of(4)
    packed_backward(module, batch, precision="float32")
    once = [each.grad.clone() for each in module.parameters() if each.grad is not None]
    packed_backward(module, batch, precision="float32")
    torch.testing.assert_close([each.grad for each in module.parameters()], [2 * each for each in once])


def test_steps_learn_as_the_plain_ones_do() -> None:
    losses = []
    for packed in ("true", "false"):
        settings = settings_of(f"packed={packed}", "learning_rate=1e-2", "initial_std=0.05")
        module = build_module(settings, None, seed=0, device="cpu")
        optimizer = make_optimizer(module, settings)
        made = itertools.islice(batches(MINI, STRINGS.mixture("transfer").parts, size=16, chunks=4), 10)
        losses.append(
            [
                float(take_step(module, optimizer, batch, settings, step=100 + step, device="cpu", forward=module))
                for step, batch in enumerate(made)
            ]
        )
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert losses[0][-1] < 0.9 * losses[0][0]


def test_a_users_module_takes_the_plain_step() -> None:
    """Its logits come from its own forward, everywhere, and a subclass may have changed the model."""

    class Own(Transformer):
        calls = 0

        def forward(self, tokens: Tensor, cache: object = None) -> Tensor:
            self.calls += 1
            return super().forward(tokens)

    settings = settings_of()
    module = Own(settings.architecture, len(PUBLISHED))
    optimizer = make_optimizer(module, settings)
    take_step(module, optimizer, batch_of(4), settings, step=0, device="cpu", forward=module)
    assert module.calls == 4


@pytest.mark.parametrize(
    ("recipe", "packed", "chunks"),
    [
        (Recipe(MINI), True, 8),
        (Recipe(MINI, preset="mini"), False, 2),
        (Recipe(MINI, changes=["compile=true"]), False, 2),
        (Recipe(MINI, device="cuda", changes=["precision=float32"]), False, 2),
        (Recipe(MINI, model="examples/my_module.py:build"), False, 2),
        (Recipe(MINI, model="examples/my_module.py:build", changes=["length_chunks=4"]), False, 4),
    ],
)
def test_only_the_reference_model_on_a_cpu_is_packed(recipe: Recipe, packed: bool, chunks: int) -> None:
    settings = recipe.plan("copy-mqar", "transfer", 0).settings
    assert (settings.packed, settings.length_chunks) == (packed, chunks)
