"""Ternary matrices as bytes: the blocks of llama.cpp's TQ2_0 and TQ1_0, 2.0625 and 1.6875 bits a weight.

A block holds 256 trits and a scale in float16. TQ2_0 writes trit + 1 in two bits, four to a byte. TQ1_0 writes five to
a byte, as 3^5 = 243 is below 256: the number v with these digits in base 3 becomes the byte ceil(256 v / 243), from
which multiplying by 3 and taking what exceeds 8 bits gives digit after digit. Which trit goes where is llama.cpp's,
whose readers understand the blocks. lgbench itself multiplies by the float32 scale that is stored beside them.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lgbench.util.errors import LgbenchError

Packing = Literal["tq2_0", "tq1_0"]
BLOCK = 256
BLOCK_BYTES: dict[Packing, int] = {"tq2_0": 66, "tq1_0": 54}
_Bytes = NDArray[np.uint8]
_POWERS = (81, 27, 9, 3, 1)  # of the five trits of a byte, the first the most significant


def bits_a_weight(packing: Packing) -> float:
    """Bits that a packing takes for each weight, block scales included."""
    return BLOCK_BYTES[packing] * 8 / BLOCK


def pack(trits: Tensor, scale: float, packing: Packing) -> Tensor:
    """Trits as blocks, uint8, shape (blocks, bytes of a block). The last block is filled up with zeros.

    Args:
        trits: -1, 0 or 1, any shape.
        scale: Of all of them.
        packing: `tq2_0` or `tq1_0`.
    """
    flat = trits.detach().cpu().numpy().reshape(-1)
    digits = np.zeros(-(-flat.size // BLOCK) * BLOCK, dtype=np.uint8)
    digits[: flat.size] = flat.astype(np.int8) + 1
    digits[flat.size :] = 1
    blocks = digits.reshape(-1, BLOCK)
    written = _pack2(blocks) if packing == "tq2_0" else _pack1(blocks)
    half = np.full((len(blocks), 1), scale, dtype="<f2").view(np.uint8)
    return torch.from_numpy(np.concatenate([written, half], axis=1))


def unpack(blocks: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The trits that `pack` wrote, float32, in their shape.

    Raises:
        LgbenchError: The blocks are of no packing, or of another number of trits.
    """
    by_size = {size: packing for packing, size in BLOCK_BYTES.items()}
    count = int(np.prod(shape))
    if blocks.dtype != torch.uint8 or blocks.ndim != 2 or blocks.shape[1] not in by_size:
        raise LgbenchError(f"Packed weights of shape {tuple(blocks.shape)} and type {blocks.dtype} are not blocks.")
    if len(blocks) != -(-count // BLOCK):
        raise LgbenchError(f"{len(blocks)} blocks of {BLOCK} packed weights do not make a matrix of {count:,}.")
    data = blocks.numpy()[:, :-2]
    digits = _unpack2(data) if by_size[blocks.shape[1]] == "tq2_0" else _unpack1(data)
    if digits.max(initial=0) > 2:
        raise LgbenchError("Packed weights hold what is not a trit: the file is damaged. Copy it again.")
    return torch.from_numpy(digits.reshape(-1)[:count].astype(np.float32) - 1).reshape(shape)


def _pack2(blocks: _Bytes) -> _Bytes:
    """Each half of a block is four rows of 32 trits. A byte holds a column, the first row in its lowest bits."""
    rows = blocks.reshape(-1, 2, 4, 32)
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[None, None, :, None]
    written: _Bytes = np.bitwise_or.reduce(rows << shifts, axis=2).reshape(len(blocks), 64)
    return written


def _unpack2(data: _Bytes) -> _Bytes:
    shifts = np.array([0, 2, 4, 6], dtype=np.uint8)[None, None, :, None]
    return ((data.reshape(-1, 2, 1, 32) >> shifts) & 3).astype(np.uint8)


def _pack1(blocks: _Bytes) -> _Bytes:
    """160 trits in 32 bytes and 80 in 16, each in five rows; then 16 trits in 4 bytes, in four rows."""
    first, second, third = blocks[:, :160], blocks[:, 160:240], blocks[:, 240:]
    filled = np.concatenate([third.reshape(-1, 4, 4), np.zeros((len(blocks), 1, 4), np.uint8)], axis=1)
    parts = [first.reshape(-1, 5, 32), second.reshape(-1, 5, 16), filled]
    powers = np.array(_POWERS, dtype=np.uint16)[None, :, None]
    values = [(part * powers).sum(axis=1, dtype=np.uint16) for part in parts]
    return np.concatenate([((value * 256 + 242) // 243).astype(np.uint8) for value in values], axis=1)


def _unpack1(data: _Bytes) -> _Bytes:
    parts = [(data[:, :32], 5), (data[:, 32:48], 5), (data[:, 48:], 4)]
    return np.concatenate([_digits(part, count) for part, count in parts], axis=1)


def _digits(data: _Bytes, count: int) -> _Bytes:
    """The first digits in base 3 of bytes, row by row, shape (blocks, count * bytes)."""
    left, rows = data.astype(np.uint16), []
    for _ in range(count):
        tripled = left.astype(np.uint16) * np.uint16(3)
        rows.append((tripled >> 8).astype(np.uint8))
        left = (tripled & 255).astype(np.uint16)
    return np.concatenate(rows, axis=1)
