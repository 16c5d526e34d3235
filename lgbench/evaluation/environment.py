"""Where a run takes place."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np

from lgbench.results.schema import Environment
from lgbench.version import __version__

_MODEL_PACKAGES = ("torch", "transformers", "tokenizers", "safetensors", "accelerate", "peft", "jax", "openai", "vllm")

_PROCESSOR_KEYS = (("family", "cpu family"), ("model", "model"))


def describe_environment(device: str) -> Environment:
    """The environment of this process; of the packages a reply may depend on, those that are loaded now."""
    commit, dirty = _git_state()
    loaded = [name for name in _MODEL_PACKAGES if name in sys.modules]
    return Environment(
        lgbench=__version__,
        python=platform.python_version(),
        numpy=np.__version__,
        platform=f"{platform.system()} {platform.machine()}",
        device=device,
        packages={name: _version(name) for name in loaded},
        git_commit=commit,
        git_dirty=dirty,
    )


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """What the system calls the processor, as in "AMD EPYC, family 25, model 17"; None where it does not say.

    The same name stands for processors that round differently; family and model tell them apart.
    """
    try:
        first = cpuinfo.read_text("utf-8", errors="replace").split("\n\n")[0]
    except OSError:  # no Linux
        return platform.processor() or None
    told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    parts = [told.get("model name", ""), *(f"{name} {told[key]}" for name, key in _PROCESSOR_KEYS if key in told)]
    return ", ".join(filter(None, parts)) or None


def reset_peak_memory() -> None:
    """Let `peak_memory` count from now on, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", "ascii")


def peak_memory() -> int | None:
    """The most bytes of memory that this process has held so far; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    # Where there is one, the peak of this program alone; `getrusage` counts that of the process that started it too.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text("utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _git_state() -> tuple[str | None, bool | None]:
    """The commit of the working directory and whether tracked files differ from it; nulls outside a repository."""
    commit = _git("rev-parse", "HEAD")
    if not commit:
        return None, None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
