"""Every place where lgbench uses what a library or the system does not promise.

Each part says what it is for and what happens without it. `LGBENCH_PLAIN=1` in the environment turns all of them off:
whatever is computed stays the same, but for the rounding of the last digits, and takes longer or more memory. Try it
where a new version of a library makes trouble.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

PLAIN_VARIABLE = "LGBENCH_PLAIN"


def is_plain() -> bool:
    """Whether the environment turns off what this module offers."""
    return os.environ.get(PLAIN_VARIABLE) == "1"


def one_dnn_linear() -> Any:
    """The product of float32 matrices by oneDNN, for which PyTorch has no public name; None where there is none.

    PyTorch multiplies them with Intel's MKL, which leaves half of what an AMD processor can do unused. Without it the
    reference model decodes at half the speed there.
    """
    if is_plain():
        return None
    import torch

    return getattr(torch.ops.mkldnn, "_linear_pointwise", None)


def has_fast_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware, for which PyTorch has no public question.

    Otherwise the flags that Linux lists decide.
    """
    if is_plain():
        cpuinfo = Path("/proc/cpuinfo")
        return cpuinfo.exists() and "avx512_bf16" in cpuinfo.read_text("utf-8", errors="replace")
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported())


def supports_dynamic_cache(model: Any) -> bool:
    """Whether `transformers` gives a model its default cache of keys and values.

    Without an answer the model is asked by its own `generate`, which copies all that it keeps for each token.
    """
    return not is_plain() and bool(type(model)._supports_default_dynamic_cache())


def trim_heap() -> None:
    """Give memory that nothing uses back to the system: glibc keeps much of it. Without it a run holds more memory."""
    _call_c_library("malloc_trim", 0)


def flush_c_streams() -> None:
    """Write what the C library holds back of its stdout. Without it, such lines may end up on another stream."""
    _call_c_library("fflush", None)


def _call_c_library(name: str, argument: int | None) -> None:
    if is_plain():
        return
    import ctypes

    with contextlib.suppress(OSError, TypeError, AttributeError):  # no such library, or nothing of this name in it
        getattr(ctypes.CDLL(None), name)(argument)
