"""Lines by image in files of bounded length, appended to as they come: what a kill cuts is one line.

A line that does not read is passed over, and its image has none.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import orjson

from workflow.project.checks import Shape
from workflow.project.rows import Row, append_rows, appending, drop_half_line

# So many lines a file.
LENGTH = 1000


class Shards:
    """The lines of `folder`/NUMBER.jsonl; what is held is where each begins. An image's last one counts."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.folder = folder
        self._shape = shape
        self._files: dict[Path, IO[bytes]] = {}
        self._places: dict[str, tuple[Path, int, int]] = {}
        for path in self.paths():
            self._index(path, path.open("rb"))

    def paths(self) -> list[Path]:
        """The files in the order of their numbers."""
        numbered = [path for path in self.folder.glob("*.jsonl") if path.stem.isdigit()]
        return sorted(numbered, key=lambda path: int(path.stem))

    def __contains__(self, image: str) -> bool:
        return image in self._places

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def row(self, image: str) -> Row:
        path, begin, length = self._places[image]
        self._files[path].seek(begin)
        return orjson.loads(self._files[path].read(length))

    @contextmanager
    def writing(self) -> Iterator[_Writer]:
        """Append lines, by one writer at a time. They are on the disk when the block has ended."""
        writer = _Writer(self)
        try:
            yield writer
        finally:
            writer.finish()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _index(self, path: Path, file: IO[bytes], begin: int = 0) -> int:
        """Note the lines from `begin` on; where the last of them ends."""
        self._files[path] = file
        file.seek(begin)
        for line in file:
            if line.endswith(b"\n") and (image := self._image(line)):
                self._places[image] = path, begin, len(line)
            begin += len(line)
        return begin

    def _image(self, line: bytes) -> str:
        """Whose line it is; nobody's where it does not read."""
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            return ""
        sound = isinstance(row, dict) and not self._shape.check(line, row)[1]
        return row["image"] if sound else ""


class _Writer:
    """Appends to one file after the other, each of `LENGTH` lines at most."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards
        self._path: Path | None = None
        self._count = self._end = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Append whole lines in one write."""
        some = list(rows)
        if self._path is None or self._count >= LENGTH:
            self.finish()
            self._begin()
        assert self._path
        with appending(self._path) as file:
            append_rows(file, some)
        reader = self._shards._files.get(self._path) or self._path.open("rb")
        self._end = self._shards._index(self._path, reader, self._end)
        self._count += len(some)

    def finish(self) -> None:
        """Have the file on the disk, whatever happens to the machine."""
        if self._path is not None:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())
            self._path = None

    def _begin(self) -> None:
        """Go on with the last file, without what a kill left of a line, or begin one where it is full."""
        self._shards.folder.mkdir(parents=True, exist_ok=True)
        paths = self._shards.paths()
        if paths:
            drop_half_line(paths[-1])
            lines = paths[-1].read_bytes().count(b"\n")
            if lines < LENGTH:
                self._path, self._count, self._end = paths[-1], lines, paths[-1].stat().st_size
                return
        number = int(paths[-1].stem) + 1 if paths else 1
        self._path, self._count, self._end = self._shards.folder / f"{number:05}.jsonl", 0, 0
