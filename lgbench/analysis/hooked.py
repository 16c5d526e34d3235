"""A model whose attention heads can be read and replaced.

A head's output is its part of the input of the attention's output matrix, so a hook on that input works for every model
with such a matrix. TransformerLens (`hook_z`), nnsight and pyvene offer the same for
models of their own classes.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lgbench.models.task_masks import unused
from lgbench.models.tokenizer import END, Vocabulary
from lgbench.models.transformer import Transformer, rotate

Edit = Callable[[int, Tensor], Tensor]
"""From a layer's number and its heads' outputs, shape (batch, time, heads, size), to the outputs to continue with."""


class HookedModel(ABC):
    """A causal model with attention heads.

    Args:
        module: int64 tokens (batch, time) to logits.
        projections: The output matrix of each layer's attention, whose input holds the heads side by side.
        head: The output layer, whose input is the final hidden state.
        heads: Of a layer.
        width: Of a projection's input.

    Attributes:
        layers: Number of layers.
        heads: Heads of a layer.
        size: Of a head's output.
        most_rows: Rows of a batch that are computed together. More would take more memory and no less time.
    """

    most_rows = 512

    def __init__(
        self, module: nn.Module, projections: Sequence[nn.Module], head: nn.Module, *, heads: int, width: int
    ) -> None:
        self.module = module.eval()
        self._projections, self._head = projections, head
        self.layers, self.heads, self.size = len(projections), heads, width // heads

    @abstractmethod
    def encode(self, task: str, prompt: str, target: str) -> tuple[list[int], list[int]]:
        """The tokens of a prompt, with all that comes before it, and of its target, with the end.

        Raises:
            LgbenchError: The vocabulary lacks the task or a character.
        """

    @abstractmethod
    def places(self, task: str, prompt: str) -> list[int] | None:
        """The position of each character of a prompt in its row; None if a token holds several."""

    @abstractmethod
    def texts(self, tokens: Sequence[int]) -> list[str]:
        """The text of each token."""

    @abstractmethod
    def attention(self, tokens: Tensor) -> Tensor:
        """Attention, float32, shape (layers, batch, heads, time, time): a row for each query position."""

    @abstractmethod
    def _forward(self, tokens: Tensor, start: int) -> Tensor:
        """Logits of the positions from `start` on, shape (batch, time - start, vocabulary)."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.module.parameters()).device

    @torch.inference_mode()
    def outputs(self, tokens: Tensor) -> Tensor:
        """The heads' outputs, shape (layers, batch, time, heads, size)."""
        kept: dict[int, Tensor] = {}

        def keep(layer: int, mixed: Tensor) -> Tensor:
            kept[layer] = mixed
            return mixed

        with self._edited(keep):
            self._forward(tokens, tokens.shape[1] - 1)
        return torch.stack([kept[layer] for layer in range(self.layers)])

    @torch.inference_mode()
    def final_states(self, tokens: Tensor) -> Tensor:
        """What the output layer reads at the last position, shape (batch, width)."""
        read: list[Tensor] = []
        handle = self._head.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0][:, -1]))
        try:
            self._forward(tokens, tokens.shape[1] - 1)
        finally:
            handle.remove()
        return read[0]

    @torch.inference_mode()
    def logits(self, tokens: Tensor, masks: Tensor, values: Tensor, *, start: int = 0) -> Tensor:
        """Logits with some heads' outputs replaced, for several choices of heads.

        Args:
            tokens: int64, shape (batch, time).
            masks: Which heads are replaced in each variant, bool, shape (variants, layers, heads).
            values: The replacements, shape (layers, batch, time, heads, size), or 1 for batch and time.
            start: The first position whose logits are returned.

        Returns:
            Shape (variants, batch, time - start, vocabulary).
        """
        count = max(1, self.most_rows // tokens.shape[0])
        first = masks.any(dim=2).int().argmax(dim=1)  # so that variants which begin in one layer are adjacent
        order = first.argsort(stable=True)
        parts = [self._variants(tokens, masks[part], values, start) for part in torch.split(order, count)]
        found: Tensor = torch.cat(parts)[order.argsort()]
        return found

    def _variants(self, tokens: Tensor, masks: Tensor, values: Tensor, start: int) -> Tensor:
        """As `logits`, at most `most_rows` rows: here, all variants side by side in one batch, from the first layer."""
        with self._edited(lambda layer, mixed: replaced(mixed, masks[:, layer], values[layer])):
            found = self._forward(tokens.repeat(len(masks), 1), start)
        return torch.unflatten(found, 0, (len(masks), tokens.shape[0]))

    @contextlib.contextmanager
    def _edited(self, edit: Edit) -> Iterator[None]:
        """Within the block, edit the outputs of heads."""

        def hook_of(layer: int) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Tensor]]:
            def hook(_: nn.Module, inputs: tuple[Any, ...]) -> tuple[Tensor]:
                mixed = torch.unflatten(inputs[0], -1, (self.heads, self.size))
                return (edit(layer, mixed).flatten(-2),)

            return hook

        handles = [each.register_forward_pre_hook(hook_of(layer)) for layer, each in enumerate(self._projections)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


def replaced(mixed: Tensor, masks: Tensor, values: Tensor) -> Tensor:
    """Heads' outputs of several variants with masked heads replaced.

    Args:
        mixed: Shape (variants * batch, time, heads, size).
        masks: Shape (variants, heads).
        values: Shape (batch, time, heads, size), or 1 for batch and time.
    """
    apart = torch.unflatten(mixed, 0, (len(masks), -1))
    return torch.where(masks[:, None, None, :, None], values, apart).flatten(0, 1)


class HookedTransformer(HookedModel):
    """A reference model. Variants share the layers before the first head that they replace.

    Args:
        module: The model.
        vocabulary: Its tokens.
    """

    def __init__(self, module: Transformer, vocabulary: Vocabulary) -> None:
        attentions: list[Any] = [block.attention for block in module.blocks]
        shape = module.shape
        super().__init__(
            module,
            [each.out for each in attentions],
            module.head,
            heads=shape.heads,
            width=shape.heads * shape.size_per_head,
        )
        self._model, self._vocabulary, self._attentions = module, vocabulary, attentions

    def encode(self, task: str, prompt: str, target: str) -> tuple[list[int], list[int]]:
        """As training has them: begin, the task's tag and the prompt; the target and the end."""
        return self._vocabulary.encode_prompt(task, prompt), [*self._vocabulary.encode(target), END]

    def tag(self, task: str) -> int:
        """The token of a task's tag."""
        return self._vocabulary.task_tag(task)

    def places(self, task: str, prompt: str) -> list[int] | None:
        """After the begin token and the tag."""
        row = self._vocabulary.encode_prompt(task, prompt)
        first = len(row) - len(prompt)
        return list(range(first, len(row))) if first == len(self._vocabulary.encode_prompt(task, "")) else None

    def texts(self, tokens: Sequence[int]) -> list[str]:
        """As the vocabulary has them."""
        return [self._vocabulary.tokens[number] for number in tokens]

    @torch.inference_mode()
    def attention(self, tokens: Tensor) -> Tensor:
        """Attention, computed explicitly, as the fused kernel does not return it."""
        read: dict[int, Tensor] = {}

        def hook_of(layer: int) -> Any:
            def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
                read[layer] = output

            return hook

        handles = [each.qkv.register_forward_hook(hook_of(layer)) for layer, each in enumerate(self._attentions)]
        try:
            self._forward(tokens, tokens.shape[1] - 1)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack([self._weights(read[layer]) for layer in range(self.layers)])

    def _weights(self, projected: Tensor) -> Tensor:
        queries, keys, _ = torch.unflatten(projected, 2, (3, self.heads, self.size)).permute(2, 0, 3, 1, 4)
        time = projected.shape[1]
        turn = self._model.rotation(0, time, projected.device, projected.dtype)
        if turn is not None:
            queries, keys = rotate(queries, turn), rotate(keys, turn)
        scores = queries @ keys.transpose(2, 3) * self.size**-0.5
        if (lean := self._attentions[0].lean(time)) is not None:  # all layers fall alike
            scores = scores + lean
        future = torch.ones(time, time, dtype=torch.bool, device=projected.device).triu(1)
        weights: Tensor = scores.masked_fill(future, -torch.inf).softmax(dim=-1)
        return weights

    def _forward(self, tokens: Tensor, start: int) -> Tensor:
        turn = self._turn(tokens)
        x, off = self._model.embedding(tokens), unused(self._model.shape, tokens)
        for layer, block in enumerate(self._model.blocks):
            x = block(x, turn, None, layer, off)
        return self._read_out(x, start)

    def _turn(self, tokens: Tensor) -> Any:
        return self._model.rotation(0, tokens.shape[1], tokens.device, self._model.embedding.weight.dtype)

    def _read_out(self, x: Tensor, start: int) -> Tensor:
        logits: Tensor = self._model.head(self._model.norm(x[:, start:]))
        return logits

    def _variants(self, tokens: Tensor, masks: Tensor, values: Tensor, start: int) -> Tensor:
        turn, batch = self._turn(tokens), tokens.shape[0]
        touched = masks.any(dim=2)
        first = torch.where(touched.any(dim=1), touched.int().argmax(dim=1), self.layers - 1)
        order: list[int] = []
        plain, off = self._model.embedding(tokens), unused(self._model.shape, tokens)
        edited = plain[:0]
        for layer, block in enumerate(self._model.blocks):
            begun = (first == layer).nonzero()[:, 0].tolist()
            order += begun
            if order:
                edited = torch.cat([edited, plain.repeat(len(begun), 1, 1)])
                here = masks[order, layer]
                with self._edited(lambda _, mixed, here=here, of=values[layer]: replaced(mixed, here, of)):  # type: ignore[misc]
                    edited = block(edited, turn, None, layer, None if off is None else off.repeated(len(order)))
            if len(order) < len(masks):
                plain = block(plain, turn, None, layer, off)
        logits = torch.unflatten(self._read_out(edited, start), 0, (len(masks), batch))
        return logits[torch.tensor(order).argsort()]


def head_masks(layers: int, heads: int, *, device: torch.device | str = "cpu") -> Tensor:
    """A variant for each head that replaces it alone, by layer, then head; shape (layers * heads, layers, heads)."""
    return torch.eye(layers * heads, dtype=torch.bool, device=device).view(-1, layers, heads)
