"""A state-space model in plain torch: Mamba-2 (Dao and Gu, 2024, arXiv 2405.21060), built by its definition.

A block projects each token to a gate z, inputs x of several heads, one write key B and one read key C, and a step size
d for each head; x, B and C pass a causal convolution over four tokens and SiLU. Each head then has a state S, a matrix
of the size of a key times that of the head:

    S_t = exp(-r d_t) S_(t-1) + d_t B_t x_t,    y_t = C_t S_t + D x_t

with a rate r and a skip D for each head. What comes out is gated by SiLU(z), normalised and projected back. For a whole
row the same is computed at once, by the duality of the paper: y = (L * C B^T) (d x) with L_ts = exp(-r (d_(s+1) + ... +
d_t)) for s up to t. A row's memory does not grow with its length, and no position is encoded anywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # the field's name for it

from lgbench.models.transformer import RMSNorm
from lgbench.util.errors import LgbenchError

_TAPS = 4
_STEP_SIZES, _RATES = (1e-3, 1e-1), (1.0, 16.0)  # of fresh heads, as in the paper's code


class BlockState(NamedTuple):
    """What a block remembers of the tokens before.

    Attributes:
        window: The last three inputs of the convolution, shape (batch, 3, channels).
        memory: S, shape (batch, heads, state, head size).
    """

    window: Tensor
    memory: Tensor


class StateSpaceBlock(nn.Module):
    """One block, added to its input.

    Args:
        width: Size of a token's vector between blocks.
        heads: Heads, which share the keys.
        state: Size of the keys B and C.
    """

    def __init__(self, width: int, heads: int, state: int) -> None:
        super().__init__()
        self.heads, self.state, self.inner = heads, state, 2 * width
        channels = self.inner + 2 * state
        self.norm = RMSNorm(width)
        self.read = nn.Linear(width, self.inner + channels + heads, bias=False)
        self.taps = nn.Parameter(torch.empty(channels, _TAPS).uniform_(-(_TAPS**-0.5), _TAPS**-0.5))
        self.tap_bias = nn.Parameter(torch.zeros(channels))
        low, high = map(math.log, _STEP_SIZES)
        self.step_bias = nn.Parameter(torch.empty(heads).uniform_(low, high).exp_().expm1().log())
        self.log_rate = nn.Parameter(torch.empty(heads).uniform_(*_RATES).log())
        self.skip = nn.Parameter(torch.ones(heads))
        self.inner_norm = RMSNorm(self.inner)
        self.write = nn.Linear(self.inner, width, bias=False)

    def forward(self, x: Tensor, before: BlockState | None) -> tuple[Tensor, BlockState]:
        """(batch, time, width) to the same shape, and what is remembered."""
        batch, time, _ = x.shape
        parts = [self.inner, self.inner + 2 * self.state, self.heads]
        gate, mixed, steps = torch.split(self.read(self.norm(x)), parts, dim=-1)
        window = mixed.new_zeros(batch, _TAPS - 1, mixed.shape[2]) if before is None else before.window
        padded = torch.cat((window, mixed), dim=1)
        mixed = F.silu((padded.unfold(1, _TAPS, 1) * self.taps).sum(-1) + self.tap_bias)
        inputs, keys, queries = torch.split(mixed, [self.inner, self.state, self.state], dim=-1)
        heads = torch.unflatten(inputs, 2, (self.heads, -1)).transpose(1, 2)
        exact = torch.promote_types(steps.dtype, torch.float32)
        sizes = F.softplus((steps + self.step_bias).to(exact)).transpose(1, 2)
        fall = (-self.log_rate.exp()[:, None] * sizes).cumsum(dim=2)  # log of what is left of the beginning
        written = heads * sizes[..., None].to(heads.dtype)
        found = self._attend(queries, keys, written, fall)
        left = (fall[:, :, -1:] - fall).exp()[..., None]
        memory = torch.einsum("bsn,bhsp->bhnp", keys, (written * left).to(keys.dtype))
        if before is not None:
            found = found + fall.exp()[..., None] * torch.einsum("btn,bhnp->bhtp", queries, before.memory)
            memory = memory + fall[:, :, -1, None, None].exp() * before.memory
        found = found + self.skip[:, None, None] * heads
        out = self.inner_norm((found.transpose(1, 2).flatten(2) * F.silu(gate)).to(x.dtype))
        return x + self.write(out), BlockState(padded[:, time:], memory)

    def _attend(self, queries: Tensor, keys: Tensor, written: Tensor, fall: Tensor) -> Tensor:
        """What each token reads of those up to it, shape (batch, heads, time, head size)."""
        time = fall.shape[2]
        later = torch.ones(time, time, dtype=torch.bool, device=fall.device).triu(1)
        left = (fall[..., None] - fall[:, :, None]).masked_fill(later, -torch.inf).exp()
        return left.to(queries.dtype) * (queries @ keys.transpose(1, 2))[:, None] @ written


class StateSpaceModel(nn.Module):
    """int64 tokens (batch, time) to logits (batch, time, vocabulary).

    Args:
        size: Tokens of the vocabulary.
        layers: Number of blocks.
        width: Size of a token's vector between blocks.
        heads: Heads of a block.
        state: Size of a key.
    """

    def __init__(self, size: int, layers: int, width: int, heads: int, state: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, width)
        self.blocks = nn.ModuleList(StateSpaceBlock(width, heads, state) for _ in range(layers))
        self.norm = RMSNorm(width)
        self.head = nn.Linear(width, size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the next token at every position."""
        return self.step(tokens, None)[0]

    def step(self, tokens: Tensor, state: list[BlockState] | None) -> tuple[Tensor, list[BlockState]]:
        """The same of tokens that follow those of the state, and the state after them."""
        x, after = self.embedding(tokens), []
        for number, block in enumerate(self.blocks):
            x, own = block(x, None if state is None else state[number])
            after.append(own)
        logits: Tensor = self.head(self.norm(x))
        return logits, after


def build(size: int, layers: int = 6, width: int = 128, heads: int = 8, state: int = 32) -> StateSpaceModel:
    """A fresh model, as `--model lgbench.models.state_space:build` names it.

    Raises:
        LgbenchError: A size is below 1, or the heads do not divide twice the width.
    """
    sizes = {"layers": layers, "width": width, "heads": heads, "state": state}
    if (smallest := min(sizes, key=sizes.__getitem__)) and sizes[smallest] < 1:
        raise LgbenchError(f"A state-space model has {smallest} of 1 or more, not {sizes[smallest]}.")
    if 2 * width % heads:
        raise LgbenchError(f"{heads} heads do not divide twice the width, {2 * width}, evenly.")
    return StateSpaceModel(size, layers, width, heads, state)
