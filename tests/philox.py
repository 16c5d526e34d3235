"""The generator behind every stream, Philox4x64-10, from its publication in plain Python integers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator


def philox_block(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox4x64-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011)."""
    low = 2**64 - 1
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product0, product1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = product1 >> 64 ^ c1 ^ k0, product1 & low, product0 >> 64 ^ c3 ^ k1, product0 & low
        k0, k1 = k0 + 0x9E3779B97F4A7C15 & low, k1 + 0xBB67AE8584CAA73B & low
    return c0, c1, c2, c3


def philox_words(key_text: str) -> Iterator[int]:
    """The words of the stream whose key is this text, endlessly. The first block is that of counter 1, as in NumPy."""
    digest = hashlib.sha256(key_text.encode()).digest()
    key = int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:16], "little")
    counter = 0
    while True:
        counter += 1
        yield from philox_block((counter, 0, 0, 0), key)
