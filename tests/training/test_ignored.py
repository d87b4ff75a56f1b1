"""What is ignored is not learned: gray in images of objects, 255 in painted ones."""

from __future__ import annotations

import numpy as np

from workflow.records import Annotation, Provenance
from workflow.schema import Schema
from workflow.shapes import masks
from workflow.training.data import to_example

ME = Provenance("person", "me")


def test_an_ignored_object_is_gray_but_for_what_others_cover() -> None:
    pixels = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    truth = [
        Annotation("b", ME, box=(0, 0, 3, 3)),
        Annotation("a", ME, box=(2, 2, 6, 5), ignored=True),
    ]
    example = to_example("x", pixels, truth, Schema.of("detection", ["a", "b"]))
    assert example["labels"].tolist() == [1]
    assert example["boxes"].tolist() == [[0, 0, 3, 3]]
    expected = pixels.copy()
    expected[2:5, 2:6] = 114
    expected[2, 2] = pixels[2, 2]
    assert example["image"].numpy().transpose(1, 2, 0).tolist() == expected.tolist()


def test_void_is_255_in_a_mask() -> None:
    top, left = np.zeros((2, 4), dtype=bool), np.zeros((2, 4), dtype=bool)
    top[0], left[:, 0] = True, True
    truth = [
        Annotation("b", ME, mask=masks.encode(top)),
        Annotation("void", ME, mask=masks.encode(left), ignored=True),
    ]
    example = to_example(
        "x", np.zeros((2, 4, 3), np.uint8), truth, Schema.of("semantic-segmentation", ["a", "b"])
    )
    assert example["mask"].tolist() == [[255, 2, 2, 2], [255, 0, 0, 0]]
    assert example["labels"].tolist() == [1]
