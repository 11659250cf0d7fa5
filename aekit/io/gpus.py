"""Find out whether there is a GPU, without importing torch where there is none."""

from __future__ import annotations

import os
import sys

DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Files of which a driver of NVIDIA, of AMD, or of Windows makes one; without any of them torch finds no GPU on Linux."""


def has_cuda() -> bool:
    """Return whether torch would compute on a GPU of CUDA or ROCm; torch is imported only where there is a driver."""
    if "torch" not in sys.modules and sys.platform == "linux" and not any(map(os.path.exists, DRIVERS)):
        return False
    import torch

    return torch.cuda.is_available()
