"""Where a model runs, and how pixels get there."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# Read when torch is imported: threads that spin while they wait are 12 times slower on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pick_device(device: str) -> str:
    """`auto` is CUDA where there is one, else Apple's MPS, else the CPU."""
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda:0"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def autocast(device: str) -> AbstractContextManager[Any]:
    """Mixed precision on CUDA: bfloat16 has float32's range, so nothing overflows. Else float32."""
    import torch

    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else nullcontext()


def upload(tensor: Tensor, device: str) -> Tensor:
    """A copy on the device; on CUDA from pinned memory, so that it overlaps with what runs there."""
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
