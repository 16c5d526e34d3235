"""Layer 0: packages that only some installations have."""

from __future__ import annotations

import importlib.util

from lgbench.errors import LgbenchError


def require_extra(extra: str, *packages: str, purpose: str) -> None:
    """Make sure that the packages of an extra are installed, without loading them.

    Args:
        extra: The extra's name in `pip install '.[...]'`.
        packages: The packages needed, by the names they are imported by.
        purpose: What needs them, as the subject of a sentence.

    Raises:
        LgbenchError: One is missing; with the command that installs it.
    """
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise LgbenchError(
            f"{purpose} needs {' and '.join(missing)}. Run, in a clone of lgbench: {install_command(extra)}"
        )


def install_command(extra: str) -> str:
    """The command that installs an extra."""
    return f"pip install -c constraints.txt '.[{extra}]'"
