"""Which device a model runs on."""

from __future__ import annotations

import torch

from lgbench.util.errors import LgbenchError
from lgbench.util.private_api import has_fast_bfloat16

# Operations a second, dense bfloat16, by what is in the device's name: NVIDIA's data sheets.
_PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12}


def choose_device(name: str) -> str:
    """The device of a name as PyTorch spells it; `auto` is CUDA where there is one, else the CPU.

    Raises:
        LgbenchError: There is no such device here.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise LgbenchError(f"{name!r} is not a device. Valid: auto, cpu, cuda, cuda:N.") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise LgbenchError(
            f"device={name}: PyTorch {torch.__version__} sees no CUDA device here. Use device=auto or device=cpu, or "
            "install a CUDA build of PyTorch and check that nvidia-smi lists the GPU."
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise LgbenchError(f"device={name}: there are {torch.cuda.device_count()} CUDA devices, from cuda:0.")
    if device.type not in ("cpu", "cuda"):
        raise LgbenchError(f"device={name} is not supported. Valid: auto, cpu, cuda, cuda:N.")
    return name


def fast_bfloat16(device: str) -> bool:
    """Whether a device multiplies bfloat16 matrices faster than float32 ones."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return has_fast_bfloat16()


def peak_flops(name: str) -> float | None:
    """The operations a second that a device of this name can do in bfloat16; None where that is not known here."""
    return next((peak for part, peak in _PEAKS.items() if part in name), None)
