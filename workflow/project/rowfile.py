"""JSON Lines by image, larger than memory: what is held is where each line begins.

Pull rewrites labels.jsonl and ledger.jsonl through it, push looks guesses up in it: ten thousand images
cost a few megabytes, however many masks they have.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import orjson

from workflow.project.checks import BY_IMAGE
from workflow.project.rows import Row, atomic, checked_lines, file_digest
from workflow.project.sizes import Sizes, sizes_of
from workflow.records import ImageRecord

Place = tuple[IO[bytes], int, int]


class RowFile:
    """The lines of `path` by their `image`, as they are there or as they have been changed since.

    An image may have several lines. Changes wait in an unnamed file until `write`. With `repair` a last
    line that a crash cut in half is passed over. StageError names a broken line, and with the catalog's
    `records` at hand one that does not fit the size of its image.
    """

    def __init__(
        self, path: Path, repair: bool = False, records: Iterable[ImageRecord] | None = None
    ) -> None:
        self.path = path
        self._places: dict[str, list[Place]] = {}
        self._before: dict[str, list[Place]] = {}
        self._changes: IO[bytes] | None = None
        if path.exists():
            self._index(path.open("rb"), repair, None if records is None else sizes_of(records))
        self._before = dict(self._places)

    def _index(self, file: IO[bytes], repair: bool, sizes: Sizes | None) -> None:
        for begin, line, row in checked_lines(self.path, file, repair, BY_IMAGE, sizes):
            self._places.setdefault(row["image"], []).append((file, begin, len(line)))

    def __contains__(self, image: str) -> bool:
        return image in self._places

    def __iter__(self) -> Iterator[str]:
        """The images, in the order of their names."""
        return iter(sorted(self._places))

    def __len__(self) -> int:
        return len(self._places)

    def rows(self, image: str) -> list[Row]:
        return [orjson.loads(line) for line in _read(self._places.get(image, ()))]

    def row(self, image: str) -> Row | None:
        """The last line of an image; None where it has none."""
        line = self.last(image)
        return orjson.loads(line) if line else None

    def last(self, image: str) -> bytes:
        """The same as it stands in the file, without its end of line; empty where there is none."""
        places = self._places.get(image)
        return next(_read(places[-1:])).rstrip(b"\n") if places else b""

    def put(self, image: str, *rows: Row) -> None:
        """Let an image have these lines, and no others."""
        if not rows:
            self.drop(image)
            return
        if self._changes is None:
            # Beside its target, as /tmp may be memory.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._changes = tempfile.TemporaryFile(dir=self.path.parent)  # noqa: SIM115
        lines = [orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows]
        before = list(_read(self._before.get(image, ())))
        # What says the same with its keys in another order is no change.
        if lines == before or [*map(orjson.loads, lines)] == [*map(orjson.loads, before)]:
            self._places[image] = self._before[image]
            return
        begin = self._changes.seek(0, 2)
        self._changes.write(b"".join(lines))
        places: list[Place] = []
        for line in lines:
            places.append((self._changes, begin, len(line)))
            begin += len(line)
        self._places[image] = places

    def drop(self, image: str) -> None:
        self._places.pop(image, None)

    def changed(self) -> list[str]:
        """The images whose lines are not those of the file, sorted."""
        images = sorted(self._places.keys() | self._before.keys())
        return [image for image in images if self._places.get(image) != self._before.get(image)]

    def lines(self, images: Iterable[str]) -> Iterator[bytes]:
        """Their lines as they are now, one after the other."""
        for image in images:
            yield from _read(self._places.get(image, ()))

    def lines_before(self, images: Iterable[str] | None = None) -> Iterator[bytes]:
        """The lines of the file, of some images or of all, sorted by image."""
        for image in sorted(self._before if images is None else set(images)):
            yield from _read(self._before[image])

    def write(self) -> bool:
        """Replace the file by the lines as they are now; False, and untouched, where it says just that."""
        content = hashlib.sha256()
        for line in self.lines(self):
            content.update(line)
        if self.path.exists() and file_digest(self.path) == content.hexdigest()[:16]:
            return False
        with atomic(self.path) as file:
            for line in self.lines(self):
                file.write(line)
        return True


def _read(places: Iterable[Any]) -> Iterator[bytes]:
    for file, begin, length in places:
        file.seek(begin)
        # As it is written, also where an editor left other ends of lines.
        yield file.read(length).rstrip(b"\r\n") + b"\n"
