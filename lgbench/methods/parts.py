"""The parts of the reference model that can be copied from another training."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Literal

PartName = Literal["all", "attention", "feed_forward", "norms", "embedding"]
PARTS: Mapping[PartName, tuple[str, ...]] = {
    "all": ("*",),
    "attention": ("blocks.*.attention.*",),
    "feed_forward": ("blocks.*.feed_forward.*",),
    "norms": ("blocks.*_norm.weight", "norm.weight"),
    "embedding": ("embedding.weight", "head.weight"),
}
"""The parameters of each part, by patterns of their names; the output layer goes with the embedding."""
TABLES = PARTS["embedding"]
"""The parameters whose rows are tokens."""


def is_of(name: str, part: PartName) -> bool:
    """Whether a parameter, by its name, belongs to a part."""
    return any(fnmatchcase(name, pattern) for pattern in PARTS[part])
