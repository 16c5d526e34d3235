"""Where lgbench keeps what can be had again: scores of replies, and replies that were fetched."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """LGBENCH_CACHE, or `lgbench` among the caches of the user."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("LGBENCH_CACHE") or Path(cache_home, "lgbench"))
