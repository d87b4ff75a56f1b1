"""Arrays handed to another process without a copy through a pipe: in memory that both have mapped.

The memory has no name, neither in a folder nor in /dev/shm: the system frees it when the last process that
has it ends, however it ends.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNED = 64
# Memory grows by steps, lest every slightly larger batch have it mapped anew.
STEP = 2**20


@dataclass(frozen=True, slots=True)
class Place:
    """Where an array lies in the memory."""

    start: int
    shape: tuple[int, ...]
    kind: str


class Shared:
    """Memory that this process writes into; `descriptor` is how another process comes by it."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // STEP) * STEP
        self.descriptor = _nameless()
        os.ftruncate(self.descriptor, self.size)
        self._map = mmap.mmap(self.descriptor, self.size)

    def write(self, arrays: Sequence[NDArray[Any]]) -> list[Place]:
        """Copy the arrays in, from the beginning, over what was there. They must fit: see `room_for`."""
        places, start = [], 0
        for array in arrays:
            place = Place(start, array.shape, array.dtype.str)
            np.copyto(_array(self._map, place), array)
            places.append(place)
            start += _aligned(array.nbytes)
        return places

    def close(self) -> None:
        self._map.close()
        os.close(self.descriptor)


class Borrowed:
    """The same memory in the other process, which only reads it."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._map = mmap.mmap(descriptor, size, prot=mmap.PROT_READ)
        os.close(descriptor)

    def read(self, places: Sequence[Place]) -> list[NDArray[Any]]:
        """The arrays, which change when the owner writes anew."""
        return [_array(self._map, place) for place in places]


def room_for(arrays: Sequence[NDArray[Any]]) -> int:
    """How many bytes the arrays take."""
    return sum(_aligned(array.nbytes) for array in arrays)


def _aligned(size: int) -> int:
    return -(-size // ALIGNED) * ALIGNED


def _array(memory: mmap.mmap, place: Place) -> NDArray[Any]:
    return np.ndarray(place.shape, place.kind, memory, place.start)


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("workflow")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
