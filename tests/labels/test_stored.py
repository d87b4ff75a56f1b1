"""Samples that are read when they are asked for, by many threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from workflow.errors import StageError
from workflow.labels.stored import Stored
from workflow.project.rows import BOM, sample_to_row, write_rows
from workflow.records import Annotation, ImageRecord, Provenance, Sample

RECORDS = [ImageRecord(f"i{n}", f"{n}.png", 100, 100, "train") for n in range(200)]
SAMPLES = [
    Sample(
        r.id, "reviewed", (Annotation(f"class {n}", Provenance("person", "me"), box=(0, 0, 1 + n % 99, 9)),)
    )
    for n, r in enumerate(RECORDS)
]


@pytest.mark.parametrize("before", [b"", BOM], ids=["plain", "by an editor"])
def test_each_sample_is_read_where_it_stands(tmp_path: Path, before: bytes) -> None:
    path = tmp_path / "labels.jsonl"
    write_rows(path, map(sample_to_row, SAMPLES))
    # Editors leave empty lines and other ends.
    path.write_bytes(before + path.read_bytes().replace(b"\n", b"\r\n\n", 50))
    with closing(Stored(path, RECORDS)) as stored, ThreadPoolExecutor(8) as pool:
        assert list(stored.samples()) == SAMPLES
        assert list(pool.map(stored.__getitem__, [s.image for s in reversed(SAMPLES)])) == SAMPLES[::-1]


def test_what_does_not_fit_its_image_is_named(tmp_path: Path) -> None:
    write_rows(tmp_path / "labels.jsonl", map(sample_to_row, SAMPLES))
    small = [ImageRecord("i98", "98.png", 50, 100, "train")]
    with closing(Stored(tmp_path / "labels.jsonl", small)) as stored, pytest.raises(StageError) as error:
        list(stored.samples())
    assert error.value.problem == (
        f"{tmp_path / 'labels.jsonl'}:99: annotations.0.box leaves its image,"
        " which is 50 x 100 in catalog.jsonl"
    )
