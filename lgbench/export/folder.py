"""The folder that an export writes."""

from __future__ import annotations

from pathlib import Path

from lgbench.errors import LgbenchError


def new_folder(path: Path) -> Path:
    """Make a folder, or take an empty one.

    Raises:
        LgbenchError: It holds something, is a file, or cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise LgbenchError(f"{str(path)!r} is not empty. Choose another folder, or empty it.")
    except OSError as error:
        raise LgbenchError(f"Cannot write to {str(path)!r}: {error.strerror or error}.") from None
    return path
