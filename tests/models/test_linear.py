"""The linear maps of the reference model give what PyTorch's give, by whichever library."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

import torch  # after the skip
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.models import linear
from lgbench.models.linear import Linear


def made(inputs: int, outputs: int) -> Linear:
    torch.manual_seed(0)
    return Linear(inputs, outputs)


@pytest.mark.parametrize("shape", [(1, 1), (47, 1), (48, 1), (50, 1), (64, 1), (3, 7, 5), (200, 2)], ids=str)
def test_decoding_gives_the_same_product_for_any_number_of_rows(shape: tuple[int, ...]) -> None:
    module = made(24, 10)
    x = torch.randn(*shape, 24)
    with torch.inference_mode():
        product = module(x)
    assert product.shape == (*shape, 10)
    torch.testing.assert_close(product, (x.double() @ module.weight.double().T).float())


def test_rows_need_not_lie_side_by_side() -> None:
    module = made(24, 10)
    x = torch.randn(60, 9, 24)[:, -1:]
    with torch.inference_mode():
        torch.testing.assert_close(module(x), F.linear(x, module.weight))


def test_one_dnn_is_asked_only_where_no_gradient_is_wanted_and_it_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def product(x: Tensor, weight: Tensor, *_: object) -> Tensor:
        asked.append(len(x))
        return F.linear(x, weight)

    monkeypatch.setattr(linear, "_ONE_DNN", product)
    module, x = made(24, 10), torch.randn(50, 24)
    module(x).sum().backward()
    assert module.weight.grad is not None
    with torch.inference_mode():
        module(x[:47])
        module.double()(x.double())
        assert not asked
        module.float()(x)
    assert asked == [64]


def test_a_compiler_takes_it_whole() -> None:
    module, x = made(24, 10), torch.randn(50, 24)
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), module(x))


def test_a_build_without_one_dnn_decodes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linear, "_ONE_DNN", None)
    module, x = made(24, 10), torch.randn(50, 24)
    with torch.inference_mode():
        assert torch.equal(module(x), F.linear(x, module.weight))
