"""How busy this machine's GPUs are, and how much of their memory is taken, while images are asked about."""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

# Seconds between two looks.
EVERY = 1.0


class Watch:
    """Looks at NVIDIA's GPUs from time to time, in a thread; at none where there is none.

    `device` is what `--device` says. Without the package pynvml only the memory that torch has in this
    process is known.
    """

    def __init__(self, device: str) -> None:
        self._gpus = _gpus(device)
        self._busy: dict[str, list[int]] = {gpu: [] for gpu in self._gpus}
        self._most = dict.fromkeys(self._gpus, 0)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        if self._gpus and find_spec("pynvml"):
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread.ident:
            self._thread.join()

    def lines(self) -> list[str]:
        """For people, a line each."""
        return [self._line(gpu) for gpu in self._gpus]

    def _look(self) -> None:
        import pynvml

        # A part of a GPU (MIG) does not say how busy it is.
        with suppress(pynvml.NVMLError):
            while not self._end.wait(EVERY):
                for gpu in self._gpus:
                    self._most[gpu] = max(self._most[gpu], _cuda().device_memory_used(gpu))
                    self._busy[gpu].append(_cuda().utilization(gpu))

    def _line(self, gpu: str) -> str:
        total = _cuda().get_device_properties(gpu).total_memory
        looks = self._busy[gpu]
        most = self._most[gpu] or _cuda().max_memory_allocated(gpu)
        busy = f"{round(sum(looks) / len(looks))} % busy, " if looks else ""
        return f"{gpu}: {busy}{_gigabytes(most)} of {_gigabytes(total)} taken at most"


def _gpus(device: str) -> Sequence[str]:
    if not _nvidia():
        return ()
    names = [name.strip() for name in device.split(",")]
    usual = {"auto": "cuda:0", "cuda": "cuda:0"}
    return tuple(dict.fromkeys(usual.get(n, n) for n in names if usual.get(n, n).startswith("cuda")))


def _nvidia() -> bool:
    """Whether there is a GPU of NVIDIA's; torch, which takes seconds to import, is asked if there may be."""
    if find_spec("pynvml"):
        import pynvml

        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return False
    elif "torch" not in sys.modules:
        return False
    return bool(_cuda().is_available())


def _cuda() -> Any:
    import torch

    return torch.cuda


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
