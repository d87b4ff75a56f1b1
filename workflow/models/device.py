"""Where a model runs, and how pixels get there."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from workflow.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

# Read when torch is imported: threads that spin while they wait are 12 times slower on a shared machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pick_device(device: str) -> str:
    """`auto` is CUDA where there is one, else Apple's MPS, else the CPU. ModelError for what is not there."""
    import torch

    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = [*gpus, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]
    if device == "auto":
        return there[0]
    if device not in there and not (device == "cuda" and gpus):
        raise ModelError(f"--device {device}: no such device", f"here: auto, {', '.join(there)}")
    return device


def ready(model: Any, device: str, compiled: bool = False) -> Any:
    """The network on its device; on CUDA with its weights as convolutions there are quickest, and compiled.

    Compiled it is fused anew for each shape of its input, which takes a minute, and pays over many images.
    """
    import torch

    if not device.startswith("cuda"):
        return model.to(device)
    model = model.to(device, memory_format=torch.channels_last)
    if compiled:
        model.compile()
    return model


def autocast(device: str) -> AbstractContextManager[Any]:
    """Mixed precision on CUDA: bfloat16 has float32's range, so nothing overflows. Else float32."""
    import torch

    return torch.autocast("cuda", torch.bfloat16) if device.startswith("cuda") else nullcontext()


def training_precision(device: str) -> str:
    """The type that the large products of training are computed in: bfloat16 where the device has it."""
    import torch

    if device.startswith("cuda"):
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        # Without these instructions it is emulated, and far slower than float32.
        native = device == "cpu" and (
            torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        )
    return "bfloat16" if native else "float32"


def training_autocast(device: str) -> AbstractContextManager[Any]:
    """Mixed precision for training; weights, gradients and optimizer stay in float32."""
    import torch

    if training_precision(device) == "float32":
        return nullcontext()
    return torch.autocast(device.partition(":")[0], torch.bfloat16)


def peak_memory_mb(device: str) -> float:
    """The most memory held so far: the GPU's own on CUDA, else that of this process."""
    import resource
    import sys

    import torch

    if device.startswith("cuda"):
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))


def upload(tensor: Tensor, device: str) -> Tensor:
    """A copy on the device; on CUDA from pinned memory, so that it overlaps with what runs there."""
    if device.startswith("cuda"):
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
