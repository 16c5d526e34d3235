"""Mistyped names in a user's subclass, which Python would ignore: nothing would call what they define."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from lgbench.util.errors import LgbenchError

_NEAR = 0.86
"""Of `difflib`: `hook` is near `hooks` and `before_steps` near `before_step`; `stop` is not near `step`."""
_PREFIX = "on_"
"""What the callbacks of other libraries begin with."""


def overrides(kind: type, base: type, names: Sequence[str]) -> bool:
    """Whether a subclass overrides one of these names of its base."""
    return any(getattr(kind, name) is not getattr(base, name) for name in names)


def check_overrides(kind: type, base: type, names: Sequence[str], *, what: str, near: float = _NEAR) -> None:
    """Refuse a subclass that defines a name of its own which is nearly one that it could override, but does not.

    Args:
        kind: The subclass.
        base: What it is a subclass of.
        names: What of `base` it may override.
        what: The subclass in messages, as in `The hook Mine`.
        near: How similar two names must be, from 0 to 1.

    Raises:
        LgbenchError: It does.
    """
    candidates = [name for name in names if not overrides(kind, base, [name])]
    for each in kind.__mro__:
        if each in base.__mro__:
            continue
        for own, value in vars(each).items():
            if own.startswith("_") or hasattr(base, own):
                continue
            meant = _meant(own, candidates, near)
            if meant is not None and _sort(value) == _sort(vars(base).get(meant, getattr(base, meant))):
                raise LgbenchError(
                    f"{what} defines {own!r}, which lgbench does not use. Did you mean {meant!r}? If not, rename it, "
                    f"as in '_{own}'. It can override: {', '.join(names)}."
                )


def _meant(own: str, names: Sequence[str], near: float) -> str | None:
    bare = own.removeprefix(_PREFIX)
    if found := difflib.get_close_matches(bare, names, n=1, cutoff=near):
        return found[0]
    words = bare.split("_") if bare != own else []
    return next((name for name in names if name in words), None)


def _sort(value: object) -> str:
    """The kind of an attribute. A mistyped name is of the same kind as the one that was meant."""
    if isinstance(value, property):
        return "property"
    return "function" if callable(value) or isinstance(value, classmethod | staticmethod) else "value"
