"""What is ignored in the dataset: a column of objects, pixel value 255, and nothing where there is none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workflow.dataset import parquet
from workflow.dataset.tally import Tally
from workflow.project.rows import annotation_from_row, annotation_to_row
from workflow.records import Annotation, ImageRecord, Provenance
from workflow.schema import Schema
from workflow.shapes import masks

ME = Provenance("person", "me")
RECORD = ImageRecord("i", "i.png", 4, 2, "train")
BOXES = Schema.of("detection", ["a"])


def _box(ignored: bool) -> Annotation:
    return Annotation("a", ME, box=(0, 0, 2, 1), id="r", ignored=ignored)


def _written(path: Path, annotations: list[Annotation], schema: Schema, ignored: bool, tally: Tally) -> Path:
    row = parquet.to_row(RECORD, b"", annotations, schema, tally, ignored)
    assert row is not None
    file = path / "data" / "train.parquet"
    parquet.write(file, [{"image_id": 1} | row], parquet.features(schema, ignored))
    return path


def test_a_line_says_it_only_where_it_is_so() -> None:
    assert "ignored" not in annotation_to_row(_box(False))
    assert annotation_to_row(_box(True))["ignored"] is True
    for one in (_box(True), _box(False)):
        assert annotation_from_row(annotation_to_row(one)) == one


@pytest.mark.parametrize("more", [{}, {"keypoints": ((1.0, 1.0),)}])
def test_what_covers_nothing_cannot_be_ignored(more) -> None:
    with pytest.raises(ValueError, match="annotation 'a' is ignored, yet covers no part of its image"):
        Annotation("a", ME, ignored=True, **more)


@pytest.mark.parametrize("ignored", [True, False])
def test_objects(tmp_path: Path, ignored: bool) -> None:
    import datasets

    tally = Tally()
    path = _written(tmp_path, [_box(ignored)], BOXES, ignored, tally)
    ((row, back),) = parquet.read(path, "train", BOXES)
    assert back == [_box(ignored)]
    assert row["objects"].get("iscrowd") == ([1] if ignored else None)
    # An image of nothing else is no true negative.
    counts = {"images": 1, "annotations": 0, "empty": 0, "ignored": 1}
    assert tally.to_json() == (counts if ignored else {"images": 1, "annotations": 1, "empty": 0})
    files = str(path / "data" / "train.parquet")
    loaded = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "c"))
    assert ("iscrowd" in loaded.features["objects"]) is ignored


def test_void_is_255(tmp_path: Path) -> None:
    schema = Schema.of("semantic-segmentation", ["a"])
    a, void = np.zeros((2, 4), dtype=bool), np.zeros((2, 4), dtype=bool)
    a[0], void[1, 2:] = True, True
    annotations = [
        Annotation("a", ME, mask=masks.encode(a)),
        Annotation("void", ME, mask=masks.encode(void), ignored=True),
    ]
    tally = Tally()
    ((row, back),) = parquet.read(_written(tmp_path, annotations, schema, True, tally), "train", schema)
    assert back == annotations
    pixels = np.asarray(Image.open(io.BytesIO(row["label"]["bytes"])))
    assert pixels.tolist() == [[1, 1, 1, 1], [0, 0, 255, 255]]
    assert tally.to_json() == {"images": 1, "annotations": 1, "empty": 0, "ignored": 1}
