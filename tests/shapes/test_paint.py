"""Classes painted over an image and taken off it again, up to the last number that 8 bits have."""

from __future__ import annotations

import numpy as np
import pytest

from workflow.records import Annotation, Mask, Provenance
from workflow.shapes import masks
from workflow.shapes.paint import VOID, layers, paint
from workflow.tasks import MOST_PAINTED

ME = Provenance("person", "me")


def _layer(label: str, rows: slice) -> Annotation:
    pixels = np.zeros((4, 6), dtype=bool)
    pixels[rows] = True
    return Annotation(label, ME, mask=masks.encode(pixels))


def test_the_later_of_two_layers_counts_and_what_was_painted_twice_is_told() -> None:
    painting = paint(
        [_layer("b", slice(0, 3)), _layer("a", slice(2, 4)), _layer("a", slice(0, 0))], "ab", 4, 6
    )
    assert painting.pixels.tolist() == [[2] * 6] * 2 + [[1] * 6] * 2
    assert painting.pixels.dtype == np.uint8
    assert (painting.twice, painting.empty) == (6, 1)
    assert [(name, int(pixels.sum())) for name, pixels in layers(painting.pixels, "ab")] == [
        ("a", 12),
        ("b", 12),
    ]


def test_outlines_and_boxes_are_painted_too() -> None:
    box = Annotation("a", ME, box=(1, 0, 3, 2))
    outline = Annotation("b", ME, polygons=(((3, 2), (6, 2), (6, 4), (3, 4)),))
    assert paint([box, outline], "ab", 4, 6).pixels.tolist() == [
        [0, 1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [0, 0, 0, 2, 2, 2],
        [0, 0, 0, 2, 2, 2],
    ]


def test_the_last_class_has_a_number_that_is_not_void() -> None:
    names = [f"c{n}" for n in range(MOST_PAINTED)]
    pixels = paint([_layer(names[-1], slice(0, 1))], names, 4, 6).pixels
    assert (MOST_PAINTED, int(pixels.max()), VOID) == (254, 254, 255)
    assert [name for name, _ in layers(pixels, names)] == ["c253"]
    with pytest.raises(ValueError, match="255 classes do not fit 8 bits, 254 are the most"):
        paint([], [*names, "one more"], 4, 6)


def test_a_mask_of_another_image_is_refused() -> None:
    strange = Annotation("a", ME, mask=Mask(2, 2, masks.encode(np.ones((2, 2))).counts))
    with pytest.raises(ValueError, match="mask 'a' of 2x2 is none of a 6x4 image"):
        paint([strange], "a", 4, 6)
