"""What images are read from: a Path, or a file elsewhere that is opened as one."""

from __future__ import annotations

from typing import IO, Literal, Protocol


class File(Protocol):
    def open(self, mode: Literal["rb"]) -> IO[bytes]:
        """Its content from the start. OSError as of a Path's `open`."""
        ...
