"""Packages that only some installations have."""

from __future__ import annotations

import importlib.util

from lgbench.util.errors import LgbenchError

EXTRAS = {
    "torch": ("torch", "safetensors"),
    "plot": ("matplotlib",),
    "hf": ("torch", "safetensors", "transformers", "accelerate"),
    "api": ("openai", "aiohttp"),
    "export": ("pyarrow",),
    "ray": ("ray",),
    "regroup": ("torch", "safetensors", "sklearn"),
    "site": ("jinja2", "plotly"),
    "tensorboard": ("torch", "safetensors", "tensorboard"),
    "analysis": ("torch", "safetensors", "sklearn"),
}
"""What always needs an extra needs of it, by the names that packages are imported by."""


def require_extra(extra: str, *more: str, purpose: str) -> None:
    """Make sure that the packages of an extra are installed, without loading them.

    Args:
        extra: The extra's name in `pip install '.[...]'`.
        more: Packages that are needed beside those in `EXTRAS`.
        purpose: What needs them, as the subject of a sentence.

    Raises:
        LgbenchError: One is missing; with the command that installs it.
    """
    missing = [package for package in (*EXTRAS[extra], *more) if importlib.util.find_spec(package) is None]
    if missing:
        raise LgbenchError(
            f"{purpose} needs {' and '.join(missing)}. Run, in a clone of lgbench: {install_command(extra)}"
        )


def install_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install -c constraints.txt '.[{extra}]'"
