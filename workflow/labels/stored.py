"""Samples by image in a file that is larger than memory: what is held is where each line begins."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson

from workflow.project.rows import located_samples, sample_from_row
from workflow.records import ImageRecord, Sample


class Stored:
    """The samples of `path`, each read when it is asked for, by any number of threads.

    What `samples` has gone through is there; it checks as `read_samples` does.
    """

    def __init__(self, path: Path, records: Iterable[ImageRecord]) -> None:
        self._path, self._records = path, records
        self._file = path.open("rb")
        self._places: dict[str, tuple[int, int]] = {}

    def samples(self) -> Iterator[Sample]:
        for begin, length, sample in located_samples(self._path, self._records):
            self._places[sample.image] = (begin, length)
            yield sample

    def __getitem__(self, image: str) -> Sample:
        begin, length = self._places[image]
        return sample_from_row(orjson.loads(os.pread(self._file.fileno(), length, begin)))

    def close(self) -> None:
        self._file.close()
