"""The reference model, a decoder-only transformer of the Llama family in plain torch.

Pre-norm blocks of causal self-attention and a gated feed-forward layer: RMSNorm (Zhang and Sennrich, 2019), rotary
position embedding (RoPE; Su et al., 2021) and SwiGLU (Shazeer, 2020), no biases, embedding and output not tied. With
`position="nope"` nothing tells the positions but the causal mask; others are in `lgbench.models.positions`. With
`task_heads` or `task_units` a row uses only some heads or feed-forward units, which its task's tag decides. Weights
exported by `lgbench export hf` give the same logits in `transformers`' LlamaForCausalLM.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.models.architecture import Architecture
from lgbench.models.linear import Linear
from lgbench.models.positions import evaluated_positions, frequencies, random_positions, slopes
from lgbench.models.task_masks import Unused, unused
from lgbench.models.ternary import matrix

NORM_EPSILON = 1e-6
# Tokens. The CPU's kernels for softmax and small matrices are fast from 16 numbers on, and at multiples of them.
_BLOCK = 16


class KeyValueCache:
    """The keys and values of every layer for the tokens read so far, in memory allocated ahead and used again.

    Args:
        layers: Number of layers.

    Attributes:
        length: Tokens read.
        unused: What the rows do not use, which their beginning decides.
    """

    def __init__(self, layers: int) -> None:
        self.length = 0
        self.unused: Unused | None = None
        self._capacity = _BLOCK
        self._stored: list[Tensor | None] = [None] * layers
        self._memory: list[Tensor | None] = [None] * layers

    def begin(self, capacity: int) -> None:
        """Forget all tokens, for another batch.

        Args:
            capacity: Tokens to make room for, rounded up to a multiple of 16; doubled whenever it does not suffice.
        """
        self.length = 0
        self._capacity = -(-capacity // _BLOCK) * _BLOCK
        self._stored = [None] * len(self._stored)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new tokens' keys and values of one layer and give all of its memory, zeros where nothing is yet.

        Args:
            layer: The layer's number.
            keys: Shape (batch, heads, new tokens, head size).
            values: The same shape.
        """
        end = self.length + keys.shape[2]
        while self._capacity < end:
            self._capacity *= 2
        stored = self._with_room(layer, keys)
        stored[0, :, :, self.length : end] = keys
        stored[1, :, :, self.length : end] = values
        return stored[0], stored[1]

    def _with_room(self, layer: int, keys: Tensor) -> Tensor:
        """A layer's part of the memory, shape (2, batch, heads, capacity, head size), grown if it is too small."""
        stored = self._stored[layer]
        if stored is None or stored.shape[3] < self._capacity:
            batch, heads, _, size = keys.shape
            needed = 2 * batch * heads * self._capacity * size
            memory = self._memory[layer]
            if stored is not None or memory is None or memory.numel() < needed:
                self._memory[layer] = memory = keys.new_empty(needed)
            grown = memory[:needed].view(2, batch, heads, self._capacity, size).zero_()
            if stored is not None:
                grown[:, :, :, : self.length] = stored[:, :, :, : self.length]
            self._stored[layer] = stored = grown
        return stored

    def ends_with(self, layer: int) -> bool:
        """Whether a layer is the last."""
        return layer == len(self._stored) - 1

    def keep(self, rows: Tensor) -> None:
        """Drop every row of the batch but these, shape (kept,)."""
        self._stored = [None if stored is None else stored[:, rows] for stored in self._stored]
        self.unused = None if self.unused is None else self.unused.of_rows(rows)


class RMSNorm(nn.Module):
    """Scale each vector to a root mean square of one, then by learned weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), NORM_EPSILON)


def rotation(
    positions: Tensor, size: int, theta: float, dtype: torch.dtype, *, half: bool = False
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, each of shape (..., size), the sines of the first half negated.

    Args:
        positions: Shape (...).
        size: Of a vector.
        theta: Base of the wavelengths.
        dtype: Of the angles.
        half: Whether only half of the vector turns: see `frequencies`.
    """
    angles = positions.to(dtype)[..., None] * frequencies(size, theta, dtype, device=positions.device, half=half)
    cosines, sines = angles.cos(), angles.sin()
    return torch.cat((cosines, cosines), dim=-1), torch.cat((-sines, sines), dim=-1)


def rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn vectors, shape (..., time, size), by the angles of their positions."""
    cosines, sines = turn
    first, second = x.chunk(2, dim=-1)
    return x * cosines + torch.cat((second, first), dim=-1) * sines


def attend(queries: Tensor, keys: Tensor, values: Tensor, lean: Tensor | None = None) -> Tensor:
    """Causal attention of every position to itself and those before it, shapes (batch, heads, time, size).

    Args:
        queries: What each position looks for.
        keys: What it can be found by.
        values: What is read.
        lean: What each key's score gains, shape (heads, 1, time); None for nothing.
    """
    if lean is not None:
        exact = torch.promote_types(keys.dtype, torch.float32)
        later = torch.full((keys.shape[2],) * 2, -torch.inf, dtype=exact, device=keys.device).triu(1)
        with torch.autocast(keys.device.type, enabled=False):
            queries, keys, values = queries.to(exact), keys.to(exact), values.to(exact)
            return F.scaled_dot_product_attention(queries, keys, values, attn_mask=lean.to(exact) + later)
    if queries.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
        # PyTorch's CPU kernel for bfloat16 takes seven times as long backwards as the one for float32.
        with torch.autocast("cpu", enabled=False):
            queries, keys, values = queries.float(), keys.float(), values.float()
            return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)
    return F.scaled_dot_product_attention(queries, keys, values, is_causal=True)


def attend_last(queries: Tensor, keys: Tensor, values: Tensor, filled: int, lean: Tensor | None = None) -> Tensor:
    """Attention of the last position, shape (batch, heads, 1, size), to the tokens in a cache.

    Written out, which is faster than the fused kernel for so few numbers. The cache's memory is read to its end, under
    a mask: on a CPU, stepping over what is not filled after every head takes up to four times as long as reading it.

    Args:
        queries: The last position's.
        keys: The cache's memory, shape (batch, heads, capacity, size).
        values: The same shape.
        filled: Tokens in the cache.
        lean: What each key's score gains, shape (heads, 1, filled); None for nothing.
    """
    scores: Tensor = queries * float(queries.shape[3]) ** -0.5 @ keys.transpose(2, 3)
    if lean is not None:
        scores[..., :filled] += lean
    scores[..., filled:] = -torch.inf
    return scores.softmax(dim=-1) @ values


class Attention(nn.Module):
    """Causal self-attention with several heads."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.heads, self.size = shape.heads, shape.size_per_head
        self.qkv = matrix(shape, shape.width, 3 * self.heads * self.size)
        self.out = matrix(shape, self.heads * self.size, shape.width)
        self.slopes: Tensor | None
        self.register_buffer("slopes", slopes(self.heads) if shape.position == "alibi" else None, persistent=False)

    def lean(self, time: int) -> Tensor | None:
        """ALiBi: what the scores of the first `time` keys gain, shape (heads, 1, time); None without it.

        A head's score falls by its slope for each token between query and key. Softmax does not change when all scores
        of a query do, so this is the same as a gain of the slope times the key's position.
        """
        if self.slopes is None:
            return None
        return (self.slopes[:, None] * torch.arange(time, device=self.slopes.device))[:, None]

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        cache: KeyValueCache | None,
        layer: int,
        off: Unused | None = None,
    ) -> Tensor:
        """(batch, time, width) to the same shape, or with a cache in the last layer to (batch, 1, width)."""
        batch, time, _ = x.shape
        heads = self.qkv(x).view(batch, time, 3, self.heads, self.size)
        both, values = heads.permute(2, 0, 3, 1, 4).split((2, 1))
        queries, keys = rotate(both, turn) if turn is not None else both
        values = values[0]
        if cache is not None:
            memory = cache.extend(layer, keys, values)
        if cache is not None and (time == 1 or cache.ends_with(layer)):  # after the last only one position is asked for
            filled = cache.length + time
            mixed = attend_last(queries[:, :, -1:], *memory, filled, self.lean(filled))
        else:
            mixed = attend(queries, keys, values, self.lean(time))
        if off is not None and off.heads is not None:
            mixed = mixed.masked_fill(off.heads[:, :, None, None], 0)
        projected: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return projected


class FeedForward(nn.Module):
    """SwiGLU: a linear map of silu(gate(x)) * up(x)."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.gate_up = matrix(shape, shape.width, 2 * shape.hidden)
        self.down = matrix(shape, shape.hidden, shape.width)

    def forward(self, x: Tensor, off: Unused | None = None) -> Tensor:
        """(batch, time, width) to the same shape."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        units = F.silu(gate) * up
        if off is not None and off.units is not None:
            units = units.masked_fill(off.units[:, None], 0)
        projected: Tensor = self.down(units)
        return projected


class Block(nn.Module):
    """Attention, then the feed-forward layer, each added to its normalised input."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.width)
        self.attention = Attention(shape)
        self.feed_forward_norm = RMSNorm(shape.width)
        self.feed_forward = FeedForward(shape)

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        cache: KeyValueCache | None,
        layer: int,
        off: Unused | None = None,
    ) -> Tensor:
        """(batch, time, width) to the same shape, or with a cache in the last layer to (batch, 1, width)."""
        mixed = self.attention(self.attention_norm(x), turn, cache, layer, off)
        x = x[:, -mixed.shape[1] :] + mixed
        added: Tensor = x + self.feed_forward(self.feed_forward_norm(x), off)
        return added


class Transformer(nn.Module):
    """The reference model: int64 tokens (batch, time) to logits (batch, time, vocabulary).

    Args:
        shape: Its architecture.
        vocabulary_size: Number of tokens.
        initial_std: Standard deviation of every fresh matrix.
    """

    def __init__(self, shape: Architecture, vocabulary_size: int, initial_std: float = 0.02) -> None:
        super().__init__()
        self.shape = shape
        self.embedding = nn.Embedding(vocabulary_size, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.width)
        self.head = Linear(shape.width, vocabulary_size)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=initial_std)

    def forward(self, tokens: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """Logits of the next token at every position; with a cache, of the last one only.

        Args:
            tokens: int64, shape (batch, time). With a cache that holds tokens already: the one that follows them.
            cache: Keys and values of the tokens before, to which those of `tokens` are added.
        """
        assert cache is None or cache.length == 0 or tokens.shape[1] == 1
        start, time = cache.length if cache is not None else 0, tokens.shape[1]
        x = self.embedding(tokens)
        turn = self.rotation(start, time, tokens.device, x.dtype, rows=tokens.shape[0])
        off = unused(self.shape, tokens) if start == 0 else cache.unused if cache is not None else None
        for layer, block in enumerate(self.blocks):
            x = block(x, turn, cache, layer, off)
        if cache is not None:
            cache.length += time
            cache.unused = off
        logits: Tensor = self.head(self.norm(x))
        return logits

    def rotation(
        self, start: int, time: int, device: torch.device, dtype: torch.dtype, *, rows: int | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """The rotation of positions `start` to `start + time`, in `dtype` or float32; None where there is none.

        Each of shape (time, head size), or in training at random positions (rows, 1, time, head size).
        """
        shape, exact = self.shape, torch.promote_types(dtype, torch.float32)
        if shape.position not in ("rope", "half-rope"):
            return None
        if not shape.position_range:
            positions = torch.arange(start, start + time, device=device)
        elif self.training and rows is not None:
            positions = random_positions(rows, time, shape.position_range, device=device)[:, None]
        else:
            positions = evaluated_positions(start, time, shape.position_range, device=device)
        return rotation(positions, shape.size_per_head, shape.theta, exact, half=shape.position == "half-rope")
