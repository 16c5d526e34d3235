"""The reference model on rows of several lengths at once, for training: logits of `Transformer.forward`, some of them.

Every layer but attention treats each token alone, so the tokens of all chunks pass through it in one matrix; attention
takes the chunks one after the other. After the last attention, only the positions whose logits are wanted go on. Norms,
attention and gates have their derivatives written out, which spares most of autograd's copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lgbench.models.task_masks import Unused, unused
from lgbench.models.transformer import NORM_EPSILON, Attention, FeedForward, RMSNorm, Transformer

Shapes = Sequence[tuple[int, int]]
"""Rows and time of every chunk."""


def packed_logits(model: Transformer, chunks: Sequence[Tensor], wanted: Tensor) -> Tensor:
    """Logits of the next token at some positions, shape (wanted, vocabulary).

    Args:
        model: The reference model.
        chunks: Tokens, int64, each of a shape (rows, time).
        wanted: The numbers of the positions, int64, shape (wanted,), counted through the chunks row by row.
    """
    x = model.embedding(torch.cat([chunk.flatten() for chunk in chunks]))
    shapes = [(chunk.shape[0], chunk.shape[1]) for chunk in chunks]
    turn = _turn(model, x, shapes)
    off = _unused(model, chunks)
    last = len(model.blocks) - 1
    block: Any
    for layer, block in enumerate(model.blocks):
        mixed = _attention(block.attention, _norm(block.attention_norm, x), turn, shapes, off)
        if layer == last:
            x, mixed = x[wanted], mixed[wanted]
            off = None if off is None else off.of_rows(wanted)
        x = x + block.attention.out(mixed)
        x = x + _feed_forward(block.feed_forward, _norm(block.feed_forward_norm, x), off)
    logits: Tensor = model.head(_norm(model.norm, x))
    return logits


def _turn(model: Transformer, x: Tensor, shapes: Shapes) -> tuple[Tensor, Tensor] | None:
    """The rotation of every token, cosines and sines of shape (tokens, 1, 1, head size)."""
    if model.shape.position_range:
        return _drawn_turn(model, x, shapes)
    turn = model.rotation(0, max(time for _, time in shapes), x.device, x.dtype)
    if turn is None:
        return None
    cosines, sines = (torch.cat([each[:time].repeat(rows, 1) for rows, time in shapes])[:, None, None] for each in turn)
    return cosines, sines


def _drawn_turn(model: Transformer, x: Tensor, shapes: Shapes) -> tuple[Tensor, Tensor]:
    """The same where each row has positions of its own."""
    cosines: list[Tensor] = []
    sines: list[Tensor] = []
    for rows, time in shapes:
        turn = model.rotation(0, time, x.device, x.dtype, rows=rows)
        assert turn is not None
        for each, found in zip(turn, (cosines, sines), strict=True):
            found.append(each.expand(rows, 1, time, -1).reshape(rows * time, 1, 1, -1))
    return torch.cat(cosines), torch.cat(sines)


def _unused(model: Transformer, chunks: Sequence[Tensor]) -> Unused | None:
    """What each token does not use: that of its row."""
    off = unused(model.shape, torch.cat([chunk[:, :2] for chunk in chunks]))  # begin and tag
    if off is None:
        return None
    times = torch.cat([torch.full((len(chunk),), chunk.shape[1], device=chunk.device) for chunk in chunks])
    return off.of_rows(torch.arange(len(times), device=times.device).repeat_interleave(times))


def _attention(
    attention: Attention, x: Tensor, turn: tuple[Tensor, Tensor] | None, shapes: Shapes, off: Unused | None
) -> Tensor:
    """What the heads read, before the output projection, shape (tokens, heads * head size)."""
    heads = attention.qkv(x).view(len(x), 3, attention.heads, attention.size)
    lean = attention.lean(max(time for _, time in shapes))
    mixed: Tensor = _Attend.apply(heads, turn, shapes, lean)  # type: ignore[no-untyped-call]
    if off is not None and off.heads is not None:
        mixed = mixed.masked_fill(off.heads[:, :, None], 0)
    return mixed.flatten(1)


def _norm(norm: RMSNorm, x: Tensor) -> Tensor:
    normal: Tensor = _Norm.apply(x, norm.weight)  # type: ignore[no-untyped-call]
    return normal


def _feed_forward(feed_forward: FeedForward, x: Tensor, off: Unused | None) -> Tensor:
    gated: Tensor = _Gate.apply(feed_forward.gate_up(x))  # type: ignore[no-untyped-call]
    if off is not None and off.units is not None:
        gated = gated.masked_fill(off.units, 0)
    projected: Tensor = feed_forward.down(gated)
    return projected


class _Norm(torch.autograd.Function):
    """`RMSNorm`, shapes (tokens, width) and (width,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        scale = (torch.linalg.vecdot(x, x) / x.shape[1] + NORM_EPSILON).rsqrt_()[:, None]
        ctx.save_for_backward(x, weight, scale)
        normal: Tensor = x * scale
        return normal.mul_(weight)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, weight, scale = ctx.saved_tensors
        normal = x * scale
        of_weight = (gradient * normal).sum(0)
        of_normal = gradient * weight
        along = torch.linalg.vecdot(of_normal, normal)[:, None] / x.shape[1]
        return of_normal.addcmul_(normal, along, value=-1).mul_(scale), of_weight


class _Attend(torch.autograd.Function):
    """`rotate` and `attend` chunk by chunk, in float32 or better; `lean` is as there.

    Queries, keys and values of shape (tokens, 3, heads, head size) to (tokens, heads, head size). Written out, which
    takes two thirds of the time of PyTorch's kernel for rows as short as these, backwards included.
    """

    @staticmethod
    def forward(
        ctx: Any, heads: Tensor, turn: tuple[Tensor, Tensor] | None, shapes: Shapes, lean: Tensor | None
    ) -> Tensor:
        exact = torch.promote_types(heads.dtype, torch.float32)
        turned = torch.empty_like(heads, dtype=exact)
        mixed = turned.new_empty(turned.shape[0], 1, *turned.shape[2:])
        _rotate(heads, turn, turned)
        turned[:, 0] *= heads.shape[-1] ** -0.5
        longest = max(time for _, time in shapes)
        later = torch.full((longest, longest), -torch.inf, dtype=exact, device=heads.device).triu(1)
        if lean is not None:
            later = later + lean  # of each head
        saved = []
        with torch.autocast(heads.device.type, enabled=False):
            for (rows, time), part, into in zip(shapes, _rows(turned, shapes), _rows(mixed, shapes), strict=True):
                queries, keys, values = part.flatten(1, 2)  # copied, as products need them
                mask = later[..., :time, :time]
                mask = mask if lean is None else mask.repeat(rows, 1, 1)
                weights = torch.baddbmm(mask, queries, keys.mT).softmax(dim=-1)
                into[0] = torch.bmm(weights, values).view(into.shape[1:])
                saved += [queries, keys, values, weights]
        ctx.save_for_backward(*saved)
        ctx.turn, ctx.shapes, ctx.type = turn, shapes, heads.dtype
        return mixed[:, 0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        saved = ctx.saved_tensors
        of_turned = gradient.new_empty(gradient.shape[0], 3, *gradient.shape[1:])
        given, found = _rows(gradient[:, None], ctx.shapes), _rows(of_turned, ctx.shapes)
        for each, (of_mixed, into) in enumerate(zip(given, found, strict=True)):
            queries, keys, values, weights = saved[4 * each : 4 * each + 4]
            of_mixed = of_mixed[0].flatten(0, 1)
            of_values = torch.bmm(weights.mT, of_mixed)
            of_weights = torch.bmm(of_mixed, values.mT)
            of_scores = of_weights.sub_((of_weights * weights).sum(dim=-1, keepdim=True)).mul_(weights)
            into[0] = torch.bmm(of_scores, keys).view(into.shape[1:])
            into[1] = torch.bmm(of_scores.mT, queries).view(into.shape[1:])
            into[2] = of_values.view(into.shape[1:])
        of_turned[:, 0] *= gradient.shape[-1] ** -0.5
        of_heads = torch.empty_like(of_turned)
        _rotate(of_turned, None if ctx.turn is None else (ctx.turn[0], -ctx.turn[1]), of_heads)
        return of_heads.to(ctx.type), None, None, None


def _rows(x: Tensor, shapes: Shapes) -> list[Tensor]:
    """Views of the chunks, each of shape (n, rows, heads, time, head size), of (tokens, n, heads, head size)."""
    parts = torch.split(x, [rows * time for rows, time in shapes])
    return [part.view(*each, *x.shape[1:]).permute(2, 0, 3, 1, 4) for each, part in zip(shapes, parts, strict=True)]


def _rotate(x: Tensor, turn: tuple[Tensor, Tensor] | None, into: Tensor) -> None:
    """Write queries, keys and values, shape (tokens, 3, ...), into other memory, the first two turned by `turn`."""
    if turn is None:
        into.copy_(x)
        return
    (cosines, sines), half = turn, x.shape[-1] // 2
    into[:, 2] = x[:, 2]
    x, into = x[:, :2], into[:, :2]
    torch.mul(x, cosines, out=into)
    into[..., :half].addcmul_(x[..., half:], sines[..., :half])
    into[..., half:].addcmul_(x[..., :half], sines[..., half:])


class _Gate(torch.autograd.Function):
    """`silu(gate) * up` of both in one matrix, shape (tokens, 2 * hidden)."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        opened = gate.sigmoid()  # kept: an exponential takes as long as ten products
        ctx.save_for_backward(gate_up, opened)
        return (gate * opened).mul_(up)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gate_up, opened = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        found = torch.empty_like(gate_up)
        of_gate, of_up = found.chunk(2, dim=-1)
        silu = gate * opened
        torch.mul(gradient, silu, out=of_up)
        silu.addcmul_(silu, opened, value=-1).add_(opened)  # silu' = opened + silu * (1 - opened)
        torch.mul(silu, up, out=of_gate).mul_(gradient)
        return found
